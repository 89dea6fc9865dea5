package lock

import (
	"sort"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/taken"
	"github.com/kmortem/mortem/kernel/task"
)

// codeKey is a place where a function is.
type codeKey struct {
	pc  uint64
	ret bool
}

// suspects looks for who holds the locks that do not say it: tasks inside of
// functions that took them and have not given them back.
func (b *builder) suspects() {
	wanted := b.wanted()
	if len(wanted) == 0 {
		return
	}
	if b.machine == nil {
		for _, list := range wanted {
			for _, i := range list {
				b.snap.Locks[i].NoHolder += "; code of this architecture is not followed to find out"
			}
		}
	}
	for _, tk := range b.order {
		if b.ctx.Err() != nil {
			return
		}
		b.suspect(tk, wanted)
	}
	for i := range b.cpus {
		if c := &b.cpus[i]; c.Source != "" && c.Task != nil {
			s := b.running(c)
			b.inspect(s, wanted)
			b.byRegisters(s, wanted)
		}
	}
	b.rank()
}

// wanted are the locks that someone waits for and that name no holder, by address.
// A folio's or bit's address is that of the word.
func (b *builder) wanted() map[uint64][]int {
	known := map[int]bool{}
	for _, h := range b.snap.Holds {
		if h.Sure == Certain || h.Sure == Likely {
			known[h.Lock] = true
		}
	}
	wanted := map[uint64][]int{}
	for i := range b.snap.Locks {
		switch l := &b.snap.Locks[i]; l.Kind {
		case Spinlock, Lockref, RWLock, Seqlock, Semaphore, RWSem, PercpuRWSem, FrozenFS, BitLock, FolioLock, BufferLock, HlistBL, SRCU,
			Mutex, RTMutex, WWMutex:
			if known[i] || l.Addr == 0 {
				continue
			}
			addr := uint64(l.Addr)
			if off, ok := b.seqlockSpin(); ok && l.Kind == Seqlock {
				addr += off // its writers take the spinlock beside
			}
			wanted[addr] = append(wanted[addr], i)
		}
	}
	return wanted
}

// suspect looks at a task that no processor runs.
func (b *builder) suspect(tk *task.Task, wanted map[uint64][]int) {
	if b.cpuOf[tk.Addr] != nil || tk.Stack == 0 {
		return
	}
	s, err := b.read(tk, false)
	if err != nil {
		return // counted when its wait was looked for
	}
	took := b.hasOutstanding(s)
	if !took && !mentions(s, wanted) {
		return
	}
	if s, err = b.read(tk, true); err != nil {
		return
	}
	if took {
		b.inspect(s, wanted)
	}
	b.byStack(s, wanted)
}

// hasOutstanding tells whether a function on the stack may have taken something.
func (b *builder) hasOutstanding(s *stack) bool {
	for i := range s.frames {
		if o := b.outstanding(&s.frames[i]); o != nil && len(o.Taken) > 0 {
			return true
		}
	}
	return false
}

// outstanding is what a function has taken and given back where a frame is, worked
// out once for each place.
func (b *builder) outstanding(f *frame) *taken.Outstanding {
	key := codeKey{f.pc, f.ret}
	if o, ok := b.places[key]; ok {
		return o
	}
	var o *taken.Outstanding
	if code := b.code(f.fn); b.machine != nil && code != nil && f.pc >= f.fn.start {
		o, _ = taken.Find(b.machine, code, f.fn.start, int(f.pc-f.fn.start), f.ret, b.effectsOf)
	}
	b.places[key] = o
	return o
}

// values are what is known of a frame.
func (b *builder) values(s *stack, i int) *taken.FrameValues {
	return &taken.FrameValues{
		CFA:      s.frames[i].cfa,
		Register: func(r arch.Reg) (uint64, bool) { return s.register(i, r) },
		Entry: func(r arch.Reg) (uint64, bool) {
			v, _, ok := b.tracer.EntryRegister(s.trace, i, r)
			return v, ok
		},
		Load: func(addr uint64, size int) (uint64, bool) {
			if size == 4 {
				v, ok := b.uint32At(addr)
				return uint64(v), ok
			}
			return b.uint64At(addr)
		},
		Own: func(name int64) (uint64, bool) {
			return taskAddr(s.tk), s.tk != nil && (name == taken.OwnTask || b.currentTask != 0 && uint64(name) == b.currentTask)
		},
	}
}

// inspect compares what the functions on a stack have taken with the locks that are
// waited for.
func (b *builder) inspect(s *stack, wanted map[uint64][]int) {
	given := map[uint64]bool{} // by functions further in, for certain or not
	for i := range s.frames {
		o := b.outstanding(&s.frames[i])
		if o == nil {
			continue
		}
		var v *taken.FrameValues
		if len(o.Taken)+len(o.Given) > 0 {
			v = b.values(s, i)
		}
		for t := range o.Taken {
			addr, likely, ok := o.Address(&o.Taken[t], v)
			if ok && inKernel(addr) {
				b.taken(s, i, &o.Taken[t], addr, likely, given, wanted)
			}
		}
		for g := range o.Given {
			if addr, _, ok := o.GivenAddress(&o.Given[g], v); ok {
				given[addr] = given[addr] || o.Given[g].Sure
			}
		}
	}
}

// taken makes a suspicion of something that a function took.
func (b *builder) taken(s *stack, i int, t *taken.Taken, addr uint64, likely bool, given map[uint64]bool, wanted map[uint64][]int) {
	if t.Op == taken.PerCPUCount {
		off, ok := at(typeOf(b.k, "struct percpu_rw_semaphore"), "read_count")
		if !ok {
			return
		}
		addr -= off
	}
	for _, l := range wanted[addr] {
		if !b.fits(l, t) || b.waitsFor(s.tk, l) {
			continue
		}
		sure, gave := given[addr]
		if gave && sure {
			continue // a function further in gave it back
		}
		f := &s.frames[i]
		e := Evidence{Function: f.fn.name, Frame: i, PC: kernel.Addr(f.pc), Call: kernel.Addr(t.Site), CallName: b.k.SymbolName(t.Site), Value: kernel.Addr(addr)}
		e.Called = string(t.Op)
		if t.Target != 0 {
			e.Called = b.symbol(t.Target)
		}
		e.Text = "it is inside of a function that took the lock, and has not given it back on any way from there"
		if !t.Sure {
			e.Text = "it is inside of a function that took the lock on some of the ways to where it is"
		}
		if likely {
			e.Text += "; the lock's address was read from memory that may have changed"
		}
		if gave {
			e.Text += "; a function that it called may have given it back"
		}
		b.snap.Tasks[b.task(s.tk)].Doing = s.doingName()
		b.strengthen(Hold{Lock: l, Task: b.task(s.tk), Mode: modeOf(t), Method: ByCode, Sure: Suspected, Evidence: []Evidence{e}})
	}
}

// modeOf is how something was taken.
func modeOf(t *taken.Taken) Mode {
	if t.Op == taken.AddReader || t.Op == taken.PerCPUCount {
		return Read
	}
	return tagKinds[t.Tag].mode
}

func (s *stack) doingName() string {
	if i := s.doing(); i >= 0 {
		return s.frames[i].fn.name
	}
	return ""
}

// fits tells whether a lock can be what an instruction took.
func (b *builder) fits(i int, t *taken.Taken) bool {
	l := &b.snap.Locks[i]
	if t.Target != 0 {
		kind := tagKinds[t.Tag].kind
		switch l.Kind {
		case Lockref, Seqlock:
			return kind == Spinlock
		case WWMutex:
			return kind == Mutex
		case FrozenFS:
			return kind == PercpuRWSem
		case HlistBL:
			return kind == BitLock
		}
		return kind == l.Kind
	}
	switch t.Op {
	case taken.PerCPUCount:
		return l.Kind == PercpuRWSem || l.Kind == FrozenFS
	case taken.SetBit:
		switch l.Kind {
		case BitLock:
			return t.Bit < 0 || t.Bit == l.Bit
		case FolioLock, HlistBL:
			return t.Bit == 0
		case BufferLock:
			return t.Bit == 2
		}
		return false
	}
	if t.Op == taken.AddReader {
		return l.Kind == RWLock
	}
	switch l.Kind {
	case Spinlock, Lockref, RWLock:
		return t.Size <= 4
	case Mutex, RWSem, WWMutex, RTMutex:
		return t.Size >= 4
	}
	return false
}

func (b *builder) waitsFor(tk *task.Task, lock int) bool {
	t, ok := b.index[tk.Addr]
	return ok && b.extra[lock].waiting[t]
}

// strengthen adds a suspicion, or makes one of what was only a hint.
func (b *builder) strengthen(h Hold) {
	if i, ok := b.holdAt[[2]int{h.Lock, h.Task}]; ok && b.snap.Holds[i].Sure == Hint {
		old := &b.snap.Holds[i]
		old.Sure, old.Method = h.Sure, h.Method
		old.Evidence = append(h.Evidence, old.Evidence...)
		return
	}
	b.hold(h)
}

// sortHolds puts the holds in the order of their locks, the surest first, and those
// that run before those that sleep.
func (b *builder) sortHolds() {
	weight := map[Confidence]int{Certain: 0, Likely: 1, Suspected: 2, Hint: 3}
	sort.SliceStable(b.snap.Holds, func(i, j int) bool {
		x, y := &b.snap.Holds[i], &b.snap.Holds[j]
		if x.Lock != y.Lock {
			return x.Lock < y.Lock
		}
		if x.Sure != y.Sure {
			return weight[x.Sure] < weight[y.Sure]
		}
		return b.snap.Tasks[x.Task].Running && !b.snap.Tasks[y.Task].Running
	})
}
