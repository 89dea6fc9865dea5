package lock

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
	"github.com/kmortem/mortem/kernel/variable"
	"github.com/kmortem/mortem/kernel/vmalloc"
)

// inVariable names the variable of the kernel or of a module that a lock is or lies in,
// with the member where its type is known.
func (n *namer) inVariable(l *Lock, addr uint64) bool {
	v, ok := n.b.k.VariableAt(addr)
	if !ok || addr == v.Addr {
		l.Symbol = n.b.symbol(addr)
		return l.Symbol != ""
	}
	name := variableMember(v.Type, v.Name, addr-v.Addr)
	if name == "" {
		name = fmt.Sprintf("%s+%#x", v.Name, addr-v.Addr)
	}
	l.Symbol = v.In(name)
	return true
}

// variableMember is a variable of a type with its member at an offset, empty where the type
// is not known.
func variableMember(t *ctype.Type, name string, off uint64) string {
	if t == nil || t.Size() <= 0 || off >= uint64(t.Size()) {
		return ""
	}
	path := member(t, off)
	switch s := t.Strip(); {
	case s.Kind == ctype.Array && s.Elem() != nil && s.Elem().Size() > 0:
		size := uint64(s.Elem().Size())
		path = member(s.Elem(), off%size)
		name = fmt.Sprintf("%s[%d]", name, off/size)
	case off == 0 && (lockTypes[s.String()] || s.Kind != ctype.Struct):
		return name
	}
	switch {
	case path == "":
		return name
	case strings.HasPrefix(path, "+"):
		return name + path
	}
	return name + "." + path
}

// inPerCPU names a processor's copy of a per-CPU variable.
func (n *namer) inPerCPU(l *Lock, addr uint64) bool {
	v, ok := variable.PerCPUAt(n.b.k, addr)
	if !ok || v.Name == "" {
		return false
	}
	name := variableMember(v.Type, v.Name, v.Offset)
	if name == "" {
		if name = v.Name; v.Offset != 0 {
			name += fmt.Sprintf("+%#x", v.Offset)
		}
	}
	l.Symbol = v.In(name)
	l.Object = &Object{Addr: kernel.Addr(addr - v.Offset), By: fmt.Sprintf("area of CPU %d", v.CPU)}
	return true
}

// inVmalloc names the area of vmalloc, vmap or ioremap that a lock is in, by who asked
// for it.
func (n *namer) inVmalloc(l *Lock, addr uint64) bool {
	if !n.triedAreas {
		n.triedAreas = true
		if r, err := vmalloc.Open(n.b.k); err == nil {
			n.areas, _ = r.Sorted() // what cannot be read is not named
		}
	}
	i, found := slices.BinarySearchFunc(n.areas, addr, func(a vmalloc.Area, addr uint64) int { return cmp.Compare(a.Start, addr) })
	if !found {
		i--
	}
	if i < 0 || addr >= n.areas[i].End {
		return false
	}
	a := &n.areas[i]
	l.Object = &Object{Addr: kernel.Addr(a.Start), Type: vmallocType, Member: fmt.Sprintf("at offset %#x", addr-a.Start), By: "vmap_area"}
	if a.Caller != 0 {
		l.Object.By += ", taken by " + n.b.k.SymbolName(a.Caller)
	}
	n.objectSize = a.End - a.Start
	return true
}

// inFrame tells in which function's frame of its owner's stack a lock lies, and in which
// of its variables.
func (n *namer) inFrame(l *Lock, owner *span) {
	s, err := n.b.stackOf(owner.task)
	if err != nil {
		return
	}
	addr := uint64(l.Addr)
	if sp, ok := stackPointer(s); ok && addr < sp {
		l.Object.Member = "below its stack pointer, where nothing lives any more"
		return
	}
	i := s.frameOf(addr)
	if i < 0 || s.frames[i].fn.name == "" {
		return
	}
	l.Object.Member = "in the frame of " + s.frames[i].fn.name
	l.Object.By += "; its frames"
	if v, function := n.b.localAt(s, i, addr); v != "" {
		l.Object.Member = v + " of " + function
		l.Object.By += "; its local variables"
	}
}

// stackOf walks a task's stack, whether a processor runs it or not, beside what is looked
// at.
func (b *builder) stackOf(tk *task.Task) (*stack, error) {
	c := b.cpuOf[tk.Addr]
	if c == nil {
		return b.again(tk)
	}
	other := *b
	other.frames, other.compact, other.words = nil, nil, nil
	return other.running(c), nil
}

// stackPointer is that of a stack's innermost frame.
func stackPointer(s *stack) (uint64, bool) {
	if len(s.frames) == 0 {
		return 0, false
	}
	return s.frames[0].sp, true
}

// localAt is the local variable of a frame, or of a function that is inlined there, that
// lies at an address, with the member.
func (b *builder) localAt(s *stack, i int, addr uint64) (name, function string) {
	b.locals(s, i, func(v *local, loc unwind.Location) bool {
		if !loc.Memory || addr < loc.Addr || addr-loc.Addr >= uint64(max(v.typ.Size(), 0)) {
			return true
		}
		name, function = v.name, v.function
		if path := member(v.typ, addr-loc.Addr); path != "" && !lockTypes[v.typ.Strip().String()] {
			name += "." + path
		}
		return false
	})
	return name, function
}

// maxTargets bounds how many objects are looked for in the kernel's variables, and
// maxPointed how many pointers of one structure are followed.
const (
	maxTargets = 1 << 12
	maxPointed = 256
)

// OnStack is the Type of an Object that is a task's kernel stack. Its Member is then the
// local variable that the lock is, or the frame that it lies in, as far as that is known.
const OnStack = "kernel stack"

// vmallocType is what an area of vmalloc has for a type, before one is found.
const vmallocType = "vmalloc area"

// untyped tells whether nothing but the allocator has told what an object is.
func (o *Object) untyped() bool { return o.Type == "" && o.Cache != "" || o.Type == vmallocType }

// target is an object of which the type is not known.
type target struct {
	start, size uint64
	lock        int
}

// byVariables finds the types of objects by the pointers to them in variables of the
// kernel and of its modules, all in one pass over these.
func (n *namer) byVariables() {
	targets := n.targets
	if len(targets) == 0 || n.b.ctx.Err() != nil {
		return
	}
	slices.SortFunc(targets, func(a, b target) int { return cmp.Compare(a.start, b.start) })
	low, high := targets[0].start, uint64(0)
	for _, t := range targets {
		high = max(high, t.start+t.size)
	}
	variable.Scan(n.b.k, func(mem []byte, at uint64) {
		for i := 0; i+8 <= len(mem); i += 8 {
			v := binary.LittleEndian.Uint64(mem[i:])
			if v < low || v >= high {
				continue
			}
			for k, _ := slices.BinarySearchFunc(targets, v+1, func(t target, v uint64) int { return cmp.Compare(t.start, v) }); k > 0 && v-targets[k-1].start < targets[k-1].size; k-- {
				n.pointed(&targets[k-1], v, at+uint64(i))
			}
		}
	})
}

// pointed makes of a variable that points into an object the object's type, if it is a
// pointer to a structure.
func (n *namer) pointed(t *target, v, at uint64) {
	if l := &n.b.snap.Locks[t.lock]; l.Object.untyped() {
		if p := variable.Type(n.b.k, at); p != nil && p.Strip().Kind == ctype.Pointer {
			n.typed(l, t, v, p.Strip().Elem(), "variable "+variable.Name(n.b.k, at))
		}
	}
}

// typed gives a lock's object the type of what a pointer to it points to, if that is a
// structure that the lock lies in and that has room in the object.
func (n *namer) typed(l *Lock, t *target, v uint64, elem *ctype.Type, by string) bool {
	addr := uint64(l.Addr)
	if elem == nil {
		return false
	}
	elem = elem.Strip()
	size := uint64(max(elem.Size(), 0))
	if elem.Kind != ctype.Struct || lockTypes[elem.String()] || addr < v || addr-v >= size || v < t.start || v-t.start+size > t.size ||
		structured[l.Kind] && !endsInLock(elem, addr-v) {
		return false
	}
	l.Object.Type, l.Object.Member, l.Object.Addr = elem.String(), member(elem, addr-v), kernel.Addr(v)
	l.Object.By += "; the " + by
	return true
}

// structured are the kinds of locks that are one of the lockTypes.
var structured = map[Kind]bool{Mutex: true, WWMutex: true, RTMutex: true, RWSem: true, PercpuRWSem: true, Semaphore: true, Completion: true}

// endsInLock tells whether a structure has a lock at an offset.
func endsInLock(t *ctype.Type, off uint64) bool {
	for range maxDepth {
		s := t.Strip()
		if s.Kind == ctype.Array && s.Elem() != nil && s.Elem().Size() > 0 {
			t, off = s.Elem(), off%uint64(s.Elem().Size())
			continue
		}
		if off == 0 && lockTypes[s.String()] {
			return true
		}
		m, ok := memberAt(s, off)
		if s.Kind != ctype.Struct && s.Kind != ctype.Union || !ok {
			return false
		}
		t, off = m.Type, off-uint64(m.Offset)
	}
	return false
}

// byMembers finds the type of an object by the members of structures that a frame's
// variables point to.
func (n *namer) byMembers(l *Lock, t *target, list []pointer) bool {
	for _, p := range list {
		if p.elem.Size() > 1<<16 {
			continue
		}
		members := p.elem.Members()
		for i := range members[:min(len(members), maxPointed)] {
			m := &members[i]
			if m.Type.Strip().Kind != ctype.Pointer || m.Name == "" {
				continue
			}
			v, ok := n.b.uint64At(p.addr + uint64(m.Offset))
			if ok && n.typed(l, t, v, m.Type.Strip().Elem(), fmt.Sprintf("variable %s->%s of %s", p.name, m.Name, p.function)) {
				return true
			}
		}
	}
	return false
}
