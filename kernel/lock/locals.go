package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/unwind"
)

// pointer is a local variable that points to a structure.
type pointer struct {
	name      string
	function  string
	addr      uint64
	elem      *ctype.Type
	parameter bool
}

// local is a local variable.
type local struct {
	name      string
	function  string
	typ       *ctype.Type
	parameter bool
}

// locals goes over the local variables of a frame by DWARF, as far as they have a place
// or a value there, until visit returns false.
func (b *builder) locals(s *stack, i int, visit func(v *local, loc unwind.Location) bool) {
	if s.trace == nil || i >= len(s.trace.Frames) {
		return
	}
	at := s.trace.Frames[i].Lookup()
	code, ok := b.k.CodeAt(at)
	if !ok {
		return
	}
	lines, err := code.Lines()
	link, known := code.Link(at)
	if err != nil || !known || !lines.Locals() {
		return
	}
	frames, err := lines.Frames(link)
	if err != nil {
		return
	}
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
			if !visit(&local{v.Name, frames[n].Name, v.Type, v.Parameter}, loc) {
				return
			}
		}
	}
}

// localPointers are the local variables of a frame that point to structures, or have
// members that do.
func (b *builder) localPointers(s *stack, i int) []pointer {
	var list []pointer
	b.locals(s, i, func(v *local, loc unwind.Location) bool {
		switch t := v.typ.Strip(); t.Kind {
		case ctype.Pointer:
			addr := loc.Value
			if loc.Memory {
				addr, _ = b.uint64At(loc.Addr)
			}
			list = addPointer(list, pointer{v.name, v.function, addr, t.Elem(), v.parameter})
		case ctype.Struct:
			for k := 0; loc.Memory && k < min(len(t.Members()), 64); k++ {
				m := &t.Members()[k]
				if m.Type.Strip().Kind == ctype.Pointer {
					addr, _ := b.uint64At(loc.Addr + uint64(m.Offset))
					list = addPointer(list, pointer{v.name + "." + m.Name, v.function, addr, m.Type.Strip().Elem(), false})
				}
			}
		}
		return true
	})
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
	if waiter == nil || l.Object == nil || !l.Object.untyped() || n.locals >= maxLocals {
		return
	}
	n.locals++
	s, err := n.b.again(waiter)
	if err != nil {
		return
	}
	t := &target{uint64(l.Object.Addr), n.objectSize, i}
	var all []pointer
	for f := range min(len(s.frames), 12) {
		list := n.b.localPointers(s, f)
		for _, p := range list {
			if n.typed(l, t, p.addr, p.elem, fmt.Sprintf("variable %s of %s", p.name, p.function)) {
				return
			}
		}
		all = append(all, list...)
	}
	if !n.byMembers(l, t, all) {
		n.byModules(l, t, s)
	}
}

// byModules gives an object the type that has the name of its slab cache, of the modules
// that the functions on a stack are of: those of the kernel were asked before.
func (n *namer) byModules(l *Lock, t *target, s *stack) {
	if l.Object.Cache == "" {
		return
	}
	asked := map[string]bool{}
	for i := range s.frames {
		module := s.frames[i].fn.module
		if module == "" || asked[module] {
			continue
		}
		asked[module] = true
		if code, ok := n.b.k.CodeAt(s.frames[i].pc); ok {
			typ, err := code.Info.Type("struct " + l.Object.Cache)
			if err == nil && n.typed(l, t, t.start, typ, "type of module "+module+" that is called so") {
				return
			}
		}
	}
}
