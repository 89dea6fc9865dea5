package unwind

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/paging"
	"github.com/kmortem/mortem/kernel/task"
)

// Saved is a set of registers that was found by a search of a stack.
type Saved struct {
	Exception
	Stack Stack // that it lies on
}

// Exceptions searches the stack of a task for registers that exceptions, interrupts
// and system calls saved there (struct pt_regs), and where a processor ran the task,
// that processor's other stacks as well; cpu is -1 for none. They come in the order of
// the stacks, each from its lowest address on. Nothing tells whether registers are
// still in use: those below a function's stack pointer are remains, and those of
// functions that keep a struct pt_regs of their own look alike. With an error, what
// could be read has been searched.
func (t *Tracer) Exceptions(tk *task.Task, cpu int) ([]Saved, error) {
	w := walker.Get().(*walk)
	defer walker.Put(w)
	w.begin(t, tk, cpu, Options{})
	var list []Saved
	var first error
	if w.own.End != 0 {
		list, first = w.exceptions(w.own, list)
	}
	for i := range w.cpu {
		var err error
		if list, err = w.exceptions(&w.cpu[i], list); err != nil && first == nil {
			first = err
		}
	}
	return list, first
}

// exceptions adds the sets of registers on one stack.
func (w *walk) exceptions(st *Stack, list []Saved) ([]Saved, error) {
	var room [arch.MaxPtRegs]byte
	buf := room[:w.t.reg.PtRegsSize]
	var first error
	// A size that is damaged does not make the search endless.
	for at := (st.Start + 7) &^ 7; st.holds(at, uint64(len(buf))) && at-st.Start < maxStack; at += 8 {
		if err := w.words.read(buf, at); err != nil {
			if first == nil && !errors.Is(err, paging.ErrNotMapped) { // as the stacks for what the machine does not have
				first = fmt.Errorf("%s stack: %w", st.Name, err)
			}
			at |= pageSize - 8 // registers that begin on this page cannot be read as a whole
			continue
		}
		regs := w.t.arch.PtRegs(buf, false)
		if !w.t.arch.Sane(&regs) || !w.t.machine.saved(w, st, at, &regs) || copied(list, at, &regs, w.t.reg) {
			continue
		}
		list = append(list, Saved{Exception{Addr: at, User: w.t.arch.User(&regs), Registers: regs}, *st})
	}
	return list, first
}

// copied tells whether what looks like registers at an address is only a copy, over the
// end of those that were found last, of what the processor itself had written of them:
// x86-64's entry code for NMIs makes two.
func copied(list []Saved, at uint64, r *arch.Registers, file *arch.RegisterFile) bool {
	if len(list) == 0 {
		return false
	}
	last := &list[len(list)-1]
	if at < last.Addr || at-last.Addr >= uint64(file.PtRegsSize) {
		return false
	}
	pc, _ := r.Get(file.PC)
	sp, _ := r.Get(file.SP)
	lastPC, _ := last.Registers.Get(file.PC)
	lastSP, _ := last.Registers.Get(file.SP)
	return pc == lastPC && sp == lastSP
}
