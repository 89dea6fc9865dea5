package unwind

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/go-delve/delve/pkg/dwarf/frame"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
)

func openTracer(t testing.TB) (*kernel.Kernel, *Tracer) {
	t.Helper()
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	modules, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(k, modules)
	if err != nil {
		t.Fatal(err)
	}
	return k, tr
}

// TestORCAgreesWithCFI compares, for instructions of every function that has
// both, where ORC (which objtool worked out from the machine code) and DWARF CFI
// (which the compiler wrote) say that the frame is. With -short it takes one
// function in 50.
//
// They differ where assembly inside a function moves the stack pointer, of which
// the compiler knows nothing (ORC by +8 and more, and calls on another stack, "a
// word in memory"); at the first instructions of functions that align their stack,
// where two registers hold the same value (sp and r10, sp and r13); and in
// functions that objtool leaves out (ORC undefined).
func TestORCAgreesWithCFI(t *testing.T) {
	k, tr := openTracer(t)
	c, err := tr.cfi()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	samples := map[string]string{}
	total := 0
	for i, e := range c.entries {
		if testing.Short() && i%50 != 0 || e.End() <= e.Begin() || e.End()-e.Begin() > 1<<20 {
			continue
		}
		start := k.Runtime(e.Begin())
		code := make([]byte, e.End()-e.Begin())
		if _, err := k.Read(code, start); err != nil || !tr.text.inImage(start) {
			continue
		}
		for off := 0; off < len(code); {
			kind := compareAt(tr, c, start+uint64(off))
			total++
			counts[kind]++
			if samples[kind] == "" {
				samples[kind] = k.SymbolName(start + uint64(off))
			}
			in, _ := (amd64.Decoder{}).Decode(code[off:], start+uint64(off), nil)
			off += in.Len
		}
	}
	var kinds []string
	for kind := range counts {
		kinds = append(kinds, kind)
	}
	sort.Slice(kinds, func(i, j int) bool { return counts[kinds[i]] > counts[kinds[j]] })
	for _, kind := range kinds {
		t.Logf("%8d of %d (%.4f %%): %s, such as %s", counts[kind], total, 100*float64(counts[kind])/float64(total), kind, samples[kind])
	}
	if share := float64(counts[agree]) / float64(total); share < 0.99 {
		t.Errorf("they agree at %.3f %% of the instructions only", 100*share)
	}
}

const agree = "the same"

// compareAt says in words how the two see one instruction.
func compareAt(tr *Tracer, c *cfi, addr uint64) string {
	rule, ok := ofX86(tr).orc.rule(tr.text, addr)
	if !ok {
		return "no ORC"
	}
	rules, err := c.find(addr)
	if err != nil {
		return "no CFI"
	}
	switch {
	case rule.kind == orcUndefined:
		return "ORC undefined"
	case rule.kind != orcCall:
		return fmt.Sprintf("ORC kind %d", rule.kind)
	case rules.CFA.Rule == frame.RuleExpression && rule.spReg == orcRegBPIndirect:
		// A function that aligns its stack keeps the frame's address in
		// memory: DW_OP_breg6 offset, DW_OP_deref.
		e := rules.CFA.Expression
		if len(e) == 3 && e[0] == 0x76 && int64(int8(e[1]<<1))>>1 == int64(rule.spOffset) && e[2] == 0x06 {
			return agree
		}
		return fmt.Sprintf("CFA by the expression %x", e)
	case rules.CFA.Rule != frame.RuleCFA || rule.spReg >= orcRegBPIndirect:
		return "one by a word in memory"
	}
	reg := orcBase[rule.spReg].reg
	if reg != arch.Reg(rules.CFA.Reg) {
		return fmt.Sprintf("registers %s and %s", tr.reg.Name(reg), tr.reg.Name(arch.Reg(rules.CFA.Reg)))
	}
	if d := int64(rule.spOffset) - rules.CFA.Offset; d != 0 {
		return fmt.Sprintf("ORC by %+d", d)
	}
	return agree
}

// TestCodeAgreesWithCFI compares what following the instructions finds with CFI:
// the frame's place, and where each register was saved.
func TestCodeAgreesWithCFI(t *testing.T) {
	k, tr := openTracer(t)
	c, err := tr.cfi()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	samples := map[string]string{}
	total := 0
	for i, e := range c.entries {
		if i%61 != 0 || e.End() <= e.Begin() || e.End()-e.Begin() > 1<<13 {
			continue
		}
		start := k.Runtime(e.Begin())
		code := make([]byte, e.End()-e.Begin())
		if _, err := k.Read(code, start); err != nil || !tr.text.inImage(start) || strings.Contains(k.SymbolName(start), ".cold") {
			continue
		}
		for off := 0; off < len(code); {
			in, err := (amd64.Decoder{}).Decode(code[off:], start+uint64(off), nil)
			off += in.Len
			if err != nil || in.Flow != arch.Call || off >= len(code) {
				continue // return addresses are what matters
			}
			kind := compareCode(c, code, start, off)
			total++
			counts[kind]++
			samples[kind] = k.SymbolName(start + uint64(off))
		}
	}
	wrong := 0
	for kind, n := range counts {
		t.Logf("%8d of %d: %s, such as %s", n, total, kind, samples[kind])
		if kind != agree && kind != "not understood" {
			wrong += n
		}
	}
	if wrong*1000 > total || counts[agree]*100 < total*95 {
		t.Errorf("%d of %d agree, %d are wrong", counts[agree], total, wrong)
	}
}

func compareCode(c *cfi, code []byte, start uint64, off int) string {
	rules, err := c.find(start + uint64(off) - 1)
	f, ok := (amd64.Arch{}).FrameAt(code, off)
	switch {
	case err != nil || rules.CFA.Rule != frame.RuleCFA:
		return "no plain CFI"
	case !ok:
		return "not understood"
	case arch.Reg(rules.CFA.Reg) == f.Base && rules.CFA.Offset != f.Offset:
		return "another frame"
	}
	for _, r := range []arch.Reg{amd64.BX, amd64.BP, amd64.R12, amd64.R13, amd64.R14, amd64.R15} {
		rule, known := rules.Regs[uint64(r)]
		below, saved := f.Saved(r)
		switch isSaved := known && rule.Rule == frame.RuleOffset; {
		case isSaved && saved && -rule.Offset != below:
			return "another place of a register"
		case isSaved && f.Same(r):
			return "a saved register is said to be the same"
		case !isSaved && saved:
			return "a register is said to be saved"
		}
	}
	return agree
}
