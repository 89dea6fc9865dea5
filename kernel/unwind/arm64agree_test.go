package unwind

import (
	"testing"

	"github.com/go-delve/delve/pkg/dwarf/frame"

	"github.com/kmortem/mortem/kernel/arch/arm64"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestARM64CodeAgreesWithCFI: what a function's instructions say of its frame is what
// the compiler wrote of it, at the instructions of every 40th function: how far the
// canonical frame address is, and where the return address is.
func TestARM64CodeAgreesWithCFI(t *testing.T) {
	k := kerneltest.ARM64(t)
	tr, err := New(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tr.cfi()
	if err != nil {
		t.Fatal(err)
	}
	functions, total, agree, silent := 0, 0, 0, 0
	for sym := range k.Info().Symbols().All() {
		start := k.Runtime(sym.Addr)
		if sym.Kind != debuginfo.SymbolText || sym.Size < 8 || sym.Size > 2048 || !tr.text.inImage(start) {
			continue
		}
		if functions++; functions%40 != 0 {
			continue
		}
		code := make([]byte, sym.Size)
		if _, err := k.Read(code, start); err != nil {
			continue // code of the boot, which is freed
		}
		for at := 0; at < len(code); at += 8 {
			rules, err := c.rules(start + uint64(at))
			if err != nil || rules.CFA.Rule != frame.RuleCFA {
				continue
			}
			total++
			f, ok := (arm64.Arch{}).FrameAt(code, at)
			if !ok {
				silent++
				continue
			}
			want := rules.CFA.Offset
			if f.Base == arm64.FP && rules.CFA.Reg == uint64(arm64.SP) {
				want = -rules.Regs[uint64(arm64.FP)].Offset // FP points to where it is saved
			}
			link, _ := f.Saved(arm64.LR)
			if f.Offset == want && link == -rules.Regs[uint64(arm64.LR)].Offset {
				agree++
			}
		}
	}
	t.Logf("%d instructions; %d agree, %d unknown to the code", total, agree, silent)
	if total < 5000 || float64(agree) < 0.99*float64(total-silent) || silent*20 > total {
		t.Errorf("of %d instructions %d agree, and %d are not known", total, agree, silent)
	}
}
