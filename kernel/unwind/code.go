package unwind

import (
	"strings"

	"github.com/kmortem/mortem/kernel/arch"
)

// byCode unwinds by following a function's instructions up to where it is. It
// needs nothing but the code, and so is for functions that have no unwind data,
// and for the registers that functions saved where there is no CFI, as in modules.
type byCode struct{}

func (byCode) method() Method   { return ByCode }
func (byCode) sure() Confidence { return Likely }

// maxCode bounds the code that is followed, in bytes.
const maxCode = 1 << 16

// codeFrame is a function's frame at an address, and whether it is known.
type codeFrame struct {
	arch.Frame
	ok bool
}

// layout is the frame of the function that a state is in.
func (c byCode) layout(w *walk, s *state) (arch.Frame, bool) {
	// The functions on the two sides of an address can differ.
	key := s.pc << 1
	if s.exact {
		key |= 1
	}
	f := w.t.codes.get(key, func() codeFrame { return c.follow(w, s) })
	return f.Frame, f.ok
}

func (byCode) follow(w *walk, s *state) codeFrame {
	fn, ok := w.t.Function(&Frame{PC: s.pc, Return: !s.exact})
	if !ok || s.pc < fn.Start || s.pc-fn.Start > maxCode || strings.Contains(fn.Name, ".cold") {
		return codeFrame{} // the cold part of a function is jumped into
	}
	code := make([]byte, min(max(fn.Size, s.pc-fn.Start), maxCode))
	n, _ := w.t.mem.Read(code, fn.Start)
	if uint64(n) < s.pc-fn.Start {
		return codeFrame{}
	}
	f, ok := w.t.arch.FrameAt(code[:n], int(s.pc-fn.Start))
	return codeFrame{f, ok}
}

func (c byCode) next(w *walk, s *state) (step, error) {
	f, ok := c.layout(w, s)
	if !ok {
		return step{}, errNoData
	}
	base, known := s.regs.Get(f.Base)
	if !known {
		return step{}, errNoData
	}
	n := step{cfa: base + uint64(f.Offset)}
	if err := c.caller(w, s, &n, &f); err != nil {
		return step{}, err
	}
	for _, r := range w.t.reg.Saved {
		n.state.regs.Forget(r)
		if below, saved := f.Saved(r); saved {
			if v, err := w.word(s, n.cfa-uint64(below)); err == nil {
				n.state.regs.Set(r, v)
			}
		} else if v, known := s.regs.Get(r); known && f.Same(r) {
			n.state.regs.Set(r, v)
		}
	}
	return n, nil
}

// caller finds the return address.
func (byCode) caller(w *walk, s *state, n *step, f *arch.Frame) error {
	if !w.t.reg.HasLink {
		return n.called(w, s, n.cfa)
	}
	below, saved := f.Saved(w.t.reg.Link)
	if !saved && f.Lost>>w.t.reg.Link&1 != 0 {
		return errNoData
	}
	return n.linked(w, s, n.cfa, below)
}
