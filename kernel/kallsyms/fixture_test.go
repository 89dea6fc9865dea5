package kallsyms

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
)

// TestFindWhereTold: what is found by its shape in a real dump is what
// VMCOREINFO leads to.
func TestFindWhereTold(t *testing.T) {
	image, err := dump.Open([]string{fixtures.Path(t, "main/vmcore.kdump")})
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	mem, err := kernel.OpenMemory(image)
	if err != nil {
		t.Fatal(err)
	}
	info := image.Facts().VMCoreInfo
	told, err := read(mem, info)
	if err != nil {
		t.Fatal(err)
	}
	stext, _ := info.Symbol("_stext")
	found, err := read(mem, dump.ParseVMCoreInfo(fmt.Appendf(nil, "SYMBOL(_stext)=%x\n", stext)))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, found) || len(told) < 30000 {
		t.Errorf("%d symbols where VMCOREINFO says, %d by their shape", len(told), len(found))
	}
}
