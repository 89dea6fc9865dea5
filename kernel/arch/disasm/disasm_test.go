package disasm_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch/disasm"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestDecodesTheKernel decodes all functions whose size is known: nearly every
// byte must belong to an instruction.
func TestDecodesTheKernel(t *testing.T) {
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	good, bad := 0, 0
	step := 1
	if testing.Short() {
		step = 50
	}
	symbols := k.Info().Symbols()
	start, _ := symbols.Lookup("_stext")
	end, _ := symbols.Lookup("_etext")
	for i := 0; i < symbols.Len(); i += step {
		sym := symbols.At(i)
		if sym.Size == 0 || sym.Addr < start.Addr || sym.Addr >= end.Addr {
			continue
		}
		r, err := disasm.Disassemble(k, fmt.Sprintf("%#x", k.Runtime(sym.Addr)), disasm.Options{Whole: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range r.Instructions {
			if in.Text == "(bad)" {
				bad++
			} else {
				good++
			}
		}
	}
	t.Logf("%d instructions, %d bytes that are none", good, bad)
	if good < 10000 || bad*2000 > good {
		t.Errorf("%d instructions, %d bytes that are none", good, bad)
	}
}

func ExampleDisassemble() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	r, err := disasm.Disassemble(k, "mutex_lock", disasm.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, in := range r.Instructions {
		if in.Target != "" {
			fmt.Println(in.Text)
		}
	}
	// Output:
	// callq __cond_resched
	// jmp __mutex_lock_slowpath
}

// TestBehindTheFunction: what is so far from a function's beginning is not in it.
func TestBehindTheFunction(t *testing.T) {
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	sym, ok := k.Info().Symbols().Lookup("schedule")
	if !ok || sym.Size == 0 {
		t.Fatalf("schedule: %+v", sym)
	}
	last := fmt.Sprintf("schedule+%d", sym.Size-1)
	if r, err := disasm.Disassemble(k, last, disasm.Options{}); err != nil || r.Function != "schedule" {
		t.Errorf("%s: %v", last, err)
	}
	behind := fmt.Sprintf("schedule+%d", sym.Size)
	if _, err := disasm.Disassemble(k, behind, disasm.Options{}); !errors.Is(err, kernel.ErrNotFound) {
		t.Errorf("%s: %v", behind, err)
	}
}
