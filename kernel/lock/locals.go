package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
)

// pointer is a local variable that points to a structure.
type pointer struct {
	name      string
	function  string
	addr      uint64
	elem      *ctype.Type
	parameter bool
}

// localPointers are the local variables of a frame that point to structures, or have
// members that do, by DWARF, as far as they have a value there.
func (b *builder) localPointers(s *stack, i int) []pointer {
	if s.trace == nil || i >= len(s.trace.Frames) {
		return nil
	}
	at := s.trace.Frames[i].Lookup()
	code, ok := b.k.CodeAt(at)
	if !ok {
		return nil
	}
	lines, err := code.Lines()
	link, known := code.Link(at)
	if err != nil || !known || !lines.Locals() {
		return nil
	}
	frames, err := lines.Frames(link)
	if err != nil {
		return nil
	}
	var list []pointer
	for n := range frames {
		for j := range frames[n].Locals {
			v := &frames[n].Locals[j]
			if v.Type == nil || v.Location == nil {
				continue
			}
			loc, err := b.tracer.Locate(s.trace, i, v.Location, frames[n].FrameBase)
			if err != nil || loc.Pieces != nil {
				continue
			}
			switch t := v.Type.Strip(); t.Kind {
			case ctype.Pointer:
				addr := loc.Value
				if loc.Memory {
					addr, _ = b.uint64At(loc.Addr)
				}
				list = addPointer(list, pointer{v.Name, frames[n].Name, addr, t.Elem(), v.Parameter})
			case ctype.Struct:
				for k := 0; loc.Memory && k < min(len(t.Members()), 64); k++ {
					m := &t.Members()[k]
					if m.Type.Strip().Kind == ctype.Pointer {
						addr, _ := b.uint64At(loc.Addr + uint64(m.Offset))
						list = addPointer(list, pointer{v.Name + "." + m.Name, frames[n].Name, addr, m.Type.Strip().Elem(), false})
					}
				}
			}
		}
	}
	return list
}

func addPointer(list []pointer, p pointer) []pointer {
	if p.elem == nil || p.elem.Strip().Kind != ctype.Struct || p.elem.Size() <= 0 || !inKernel(p.addr) {
		return list
	}
	p.elem = p.elem.Strip()
	return append(list, p)
}

// parameterOf is the parameter of a locking function that leads to a structure of a
// type, by DWARF.
func (b *builder) parameterOf(s *stack, from int, typ string) (uint64, bool) {
	for i := from; i < len(s.frames) && i < from+3 && s.frames[i].fn.classed; i++ {
		for _, p := range b.localPointers(s, i) {
			if p.parameter && p.elem.String() == typ && inKernel(p.addr) {
				return p.addr, true
			}
		}
	}
	return 0, false
}

// maxLocals bounds how many locks are named by local variables: it takes debug
// information that is slow to read.
const maxLocals = 64

// byLocals finds the type of what a lock is in by the variables of one that waits for
// it. An object from a slab must hold all of the structure.
func (n *namer) byLocals(i int) {
	l := &n.b.snap.Locks[i]
	waiter := n.b.live[n.b.extra[i].waiter]
	if waiter == nil || l.Object == nil || l.Object.Type != "" || n.locals >= maxLocals {
		return
	}
	n.locals++
	s, err := n.b.again(waiter)
	if err != nil {
		return
	}
	addr := uint64(l.Addr)
	start, size := uint64(l.Object.Addr), n.objectSize
	for f := range min(len(s.frames), 12) {
		for _, p := range n.b.localPointers(s, f) {
			t := uint64(p.elem.Size())
			if addr < p.addr || addr-p.addr >= t || p.addr < start || p.addr-start+t > size || lockTypes[p.elem.String()] {
				continue
			}
			l.Object.Type, l.Object.Member = p.elem.String(), member(p.elem, addr-p.addr)
			l.Object.Addr = kernel.Addr(p.addr)
			l.Object.By += fmt.Sprintf("; the variable %s of %s", p.name, p.function)
			return
		}
	}
}
