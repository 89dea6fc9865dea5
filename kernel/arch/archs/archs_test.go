package archs_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/archs"
)

// Whatever an architecture calls a register must lead back to it, and its roles
// must be among those that struct pt_regs has.
func TestRegisterFiles(t *testing.T) {
	for _, name := range []dump.Arch{dump.ArchX86_64, dump.ArchARM64} {
		a, err := archs.Of(name)
		if err != nil {
			t.Fatal(err)
		}
		f := a.Registers()
		shown := map[arch.Reg]bool{}
		for _, r := range f.Order {
			if back, ok := f.ByName(f.Name(r)); !ok || back != r || r >= arch.MaxRegs || shown[r] {
				t.Errorf("%s: register %d is %q, which is %d, %v", name, r, f.Name(r), back, ok)
			}
			shown[r] = true
		}
		for _, r := range append([]arch.Reg{f.PC, f.SP, f.FP}, f.Saved...) {
			if !shown[r] {
				t.Errorf("%s: register %q is not shown", name, f.Name(r))
			}
		}
		if f.PtRegsSize > arch.MaxPtRegs || f.PtRegsPC+8 > f.PtRegsSize {
			t.Errorf("%s: struct pt_regs of %d bytes", name, f.PtRegsSize)
		}
	}
	if _, err := archs.Of(dump.ArchS390X); !errors.Is(err, archs.ErrUnknown) {
		t.Errorf("s390x: %v", err)
	}
}

func ExampleOf() {
	a, err := archs.Of(dump.ArchX86_64) // in earnest: image.Facts().Arch
	if err != nil {
		panic(err)
	}
	in, err := a.Decode([]byte{0xc3}, 0xffffffff81000000, nil)
	fmt.Println(in.Text, in.Len, err)
	// Output: retq 1 <nil>
}
