package taken

import (
	"slices"

	"github.com/kmortem/mortem/kernel/arch"
)

// Origin is where the address of something taken came from.
type Origin string

// The origins.
const (
	Variable Origin = "variable" // it is in the code
	OnStack  Origin = "stack"    // in the function's own frame
	Argument Origin = "argument" // of the function, or in what that points to
	Member   Origin = "member"   // what a pointer in memory points to
	OfTask   Origin = "own"      // of the task or processor, or what that points to
	Computed Origin = "computed" // what a call or an instruction came up with
	Several  Origin = "ways"     // different on different ways
)

// Site is an instruction that takes something or gives it back.
type Site struct {
	Addr   uint64 // virtual address of the instruction
	Target uint64 // the function that is called; 0 for an instruction
	Take   bool
	Tag    int // of the effect
	Op     Op  // of an instruction
	Origin Origin
	// Known tells that a frame there leads to the address: by its frame, or by a
	// register or slot that the function keeps it in.
	Known bool
	// Paired tells that what is given back was taken by this function before.
	Paired bool
}

// Sites is what a function takes and gives back by calls, in the order of its code, and
// how many of its returns leave something taken. It is false where the code cannot be
// followed.
func Sites(m Machine, code []byte, start uint64, effects func(target uint64) []Effect) (list []Site, left int, ok bool) {
	if len(code) > MaxFunction {
		return nil, 0, false
	}
	w := newWalk(m, code, start, effects)
	if !w.run() {
		return nil, 0, false
	}
	for i := range w.places {
		p := &w.places[i]
		if p.Flow == arch.Return {
			if s := w.before(i); s != nil && s.leaves() {
				left++
			}
		}
		if p.Flow != arch.Call || !p.Direct || len(effects(start+uint64(p.To))) == 0 {
			continue
		}
		if s := w.before(i); s != nil {
			list = append(list, w.sites(s, i)...)
		}
	}
	return list, left, true
}

// leaves tells whether something is certainly held that a called function took.
func (s *State) leaves() bool {
	return slices.ContainsFunc(s.held, func(h held) bool { return h.Target != 0 && slices.Contains(s.must, h.where) })
}

// sites is what a call takes and gives back.
func (w *Walk) sites(s *State, i int) []Site {
	p := &w.places[i]
	target := w.start + uint64(p.To)
	after := s.clone()
	w.clobber(after, p.Offset)
	var list []Site
	for _, e := range w.effects(target) {
		where := Value{Off: int64(e.Fixed)}
		if e.Fixed == 0 {
			where = s.Regs[w.conv.Args[e.Arg]]
		}
		site := Site{Addr: w.Site(i), Target: target, Take: e.Take, Tag: e.Tag, Origin: w.origin(where, 0)}
		site.Known = w.recoverable(after, where, 0)
		for _, h := range s.held {
			site.Paired = site.Paired || e.Give && h.where == where
		}
		list = append(list, site)
	}
	return list
}

func (w *Walk) origin(v Value, depth int) Origin {
	e := &w.exprs[v.ID]
	switch {
	case v.ID == Const:
		return Variable
	case e.kind == exprEntry && e.reg == w.conv.SP:
		return OnStack
	case e.kind == exprEntry:
		return Argument
	case e.kind == exprLoad && depth < maxDepth:
		switch o := w.origin(e.from, depth+1); o {
		case Argument, OfTask, Computed, Several:
			return o
		}
		return Member
	case e.kind == exprOwn:
		return OfTask
	case e.kind == exprMerge:
		return Several
	}
	return Computed
}

// recoverable tells whether concrete can find a number.
func (w *Walk) recoverable(s *State, v Value, depth int) bool {
	e := &w.exprs[v.ID]
	if v.ID == Const || e.kind == exprEntry && e.reg == w.conv.SP || e.kind == exprOwn && e.slot == OwnTask {
		return true
	}
	for r := range arch.Reg(w.conv.Registers) {
		if s.Regs[r].ID == v.ID && w.conv.Kept>>r&1 != 0 {
			return true
		}
	}
	for _, have := range s.stack {
		if have.ID == v.ID {
			return true
		}
	}
	return e.kind == exprLoad && depth < maxDepth && e.size >= 4 && w.recoverable(s, e.from, depth+1)
}
