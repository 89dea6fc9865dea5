package amd64

import (
	"slices"

	"golang.org/x/arch/x86/x86asm"

	"github.com/kmortem/mortem/kernel/arch"
)

// Effect is what a called function does with something that its callers take and
// give back, such as a lock.
type Effect struct {
	Take, Give bool
	Arg        arch.Reg // that its address is passed in
	Fixed      uint64   // the address itself, where it is always the same; 0 if not
	Success    Success  // of taking
	Tag        int      // for the caller's own use
}

// Success is by what a function tells that it has taken the thing.
type Success uint8

// The ways.
const (
	Always Success = iota
	IfNonzero
	IfZero
)

// Taken is something that a function took on a way to one of its instructions, and
// did not give back.
type Taken struct {
	Site   uint64 // virtual address of the instruction that took it
	Target uint64 // the function that was called; 0 for an atomic instruction
	Tag    int    // of the effect
	Op     string // the atomic instruction: "cmpxchg", "bts"
	Size   int    // bytes of its operand
	Bit    int    // of bts, -1 where it is not in the instruction
	// Sure tells that it was taken on all ways there.
	Sure bool

	where value
}

// Given is something that a function gave back without having taken it before.
type Given struct {
	Site  uint64 // virtual address of the instruction
	Tag   int
	Store bool // by an instruction, and not by a call
	Sure  bool // on all ways
	where value
}

// Outstanding is what a function has taken and given back when it is at one of its
// instructions.
type Outstanding struct {
	Taken []Taken
	Given []Given

	t     *tracker
	state *flowState
}

// FrameValues is what is known of a function's frame, to work out addresses with.
type FrameValues struct {
	CFA      uint64
	Register func(arch.Reg) (uint64, bool) // as it is at the instruction
	Entry    func(arch.Reg) (uint64, bool) // as it was when the function was called
	Load     func(addr uint64, size int) (uint64, bool)
}

// maxFunction bounds the code of a function that is followed, in bytes.
const maxFunction = 1 << 16

// FindOutstanding follows a function's instructions on all ways to the one at an
// offset. returns tells that the offset is where a call returns to that has not
// returned: what that call does is left out. effects tells what a function does,
// by its address. It is false where the code cannot be followed.
func FindOutstanding(code []byte, start uint64, offset int, returns bool, effects func(target uint64) []Effect) (*Outstanding, bool) {
	if len(code) > maxFunction || offset < 0 || offset > len(code) {
		return nil, false
	}
	t := newTracker(code, start, effects)
	at := t.index(offset, returns)
	if at < 0 || !t.run() {
		return nil, false
	}
	s := t.before(at)
	if s == nil {
		return nil, false
	}
	if returns {
		t.clobber(s, t.list[at].at)
	}
	o := &Outstanding{t: t, state: s}
	for _, h := range s.held {
		h.Sure = slices.Contains(s.must, h.where)
		o.Taken = append(o.Taken, h.Taken)
	}
	o.Given = append(o.Given, s.given...)
	return o, true
}

// Address works out the address of something taken. Likely tells that it was read
// from memory, which may have changed since it was taken.
func (o *Outstanding) Address(t *Taken, f *FrameValues) (addr uint64, likely, ok bool) {
	return o.concrete(t.where, f, 0)
}

// GivenAddress works out the address of something given back.
func (o *Outstanding) GivenAddress(g *Given, f *FrameValues) (addr uint64, likely, ok bool) {
	return o.concrete(g.where, f, 0)
}

// concrete finds a number that has the same origin as the one that is looked for: a
// register or a slot of the frame.
func (o *Outstanding) concrete(v value, f *FrameValues, depth int) (addr uint64, likely, ok bool) {
	if v.id == constID {
		return uint64(v.off), false, true
	}
	e := o.t.exprs[v.id]
	if e.kind == exprEntry && e.reg == SP {
		return f.CFA - 8 + uint64(v.off), false, f.CFA != 0
	}
	for r := AX; r <= R15; r++ {
		if have := o.state.regs[r]; have.id == v.id && CalleeSaved>>r&1 != 0 {
			if n, known := f.Register(r); known {
				return n + uint64(v.off-have.off), false, true
			}
		}
	}
	if f.CFA != 0 {
		for slot, have := range o.state.stack {
			if have.id != v.id {
				continue
			}
			if n, known := f.Load(f.CFA-8+uint64(slot), 8); known {
				return n + uint64(v.off-have.off), false, true
			}
		}
	}
	if e.kind == exprEntry && f.Entry != nil {
		if n, known := f.Entry(e.reg); known {
			return n + uint64(v.off), false, true
		}
	}
	if e.kind == exprLoad && depth < 4 && e.size >= 4 {
		if at, _, known := o.concrete(e.from, f, depth+1); known {
			if n, known := f.Load(at, e.size); known {
				return n + uint64(v.off), true, true
			}
		}
	}
	return 0, false, false
}

// value is a number in terms of one whose origin has an id.
type value struct {
	id  int
	off int64
}

// constID is the id of numbers that are in the code.
const constID = 0

type exprKind uint8

const (
	exprConst exprKind = iota
	exprEntry          // a register as it was at the function's entry
	exprLoad           // what was in memory
	exprFresh          // what an instruction came up with
	exprMerge          // different things on different ways
)

// expr is the origin of a number.
type expr struct {
	kind exprKind
	reg  arch.Reg
	at   int // the instruction or place
	from value
	size int
	slot int64
}

// held is something taken, with what it depends on.
type held struct {
	Taken
	// cond is the number that tells whether it was taken, 0 where it was.
	cond    int
	success Success
}

// flowState is what is known before an instruction.
type flowState struct {
	regs  [16]value
	stack map[int64]value // by distance from the stack pointer at entry
	held  []held
	given []Given
	// must is what is held on all ways, wherever it was taken on each.
	must []value
	// What the flags tell: whether the number cond is zero, or whether the atomic
	// instruction at a site has taken something.
	zeroOf int
	site   uint64
	op     x86asm.Op
}

func (s *flowState) clone() *flowState {
	c := *s
	c.stack = make(map[int64]value, len(s.stack))
	for k, v := range s.stack {
		c.stack[k] = v
	}
	c.held, c.given, c.must = slices.Clone(s.held), slices.Clone(s.given), slices.Clone(s.must)
	return &c
}

// tracker follows one function.
type tracker struct {
	list    []placed
	at      map[int]int // instruction by offset
	lead    map[int]bool
	start   uint64
	effects func(uint64) []Effect
	exprs   []expr
	ids     map[expr]int
	in      map[int]*flowState // by instruction that begins a block
	work    []int
	orphan  *flowState // before a jump to a place that is not known
	visits  map[int]int
}

func newTracker(code []byte, start uint64, effects func(uint64) []Effect) *tracker {
	t := &tracker{at: map[int]int{}, lead: map[int]bool{0: true}, start: start, effects: effects, ids: map[expr]int{},
		in: map[int]*flowState{}, visits: map[int]int{}, exprs: []expr{{}}}
	for at := 0; at < len(code); {
		inst, err := x86asm.Decode(code[at:min(len(code), at+15)], 64)
		if s, ok := special(code[at:], 0); ok {
			inst, err = x86asm.Inst{Op: x86asm.NOP, Len: s.Len}, nil
		}
		if err != nil || inst.Len == 0 {
			inst = x86asm.Inst{Op: x86asm.UD2, Len: 1}
		}
		t.at[at] = len(t.list)
		t.list = append(t.list, placed{at, inst})
		at += inst.Len
		f := flow(inst.Op)
		if rel, ok := inst.Args[0].(x86asm.Rel); ok && f != arch.Call {
			t.lead[at+int(rel)] = true
		}
		if f == arch.Jump || f == arch.Branch || f == arch.Return || f == arch.Stop {
			t.lead[at] = true
		}
	}
	return t
}

// index is the instruction at an offset, or the call that ends there.
func (t *tracker) index(offset int, returns bool) int {
	if !returns {
		if i, ok := t.at[offset]; ok {
			return i
		}
		return -1
	}
	for i := range t.list {
		if t.list[i].at+t.list[i].inst.Len == offset && flow(t.list[i].inst.Op) == arch.Call {
			return i
		}
	}
	return -1
}

// intern gives an origin its id.
func (t *tracker) intern(e expr) int {
	if id, ok := t.ids[e]; ok {
		return id
	}
	t.exprs = append(t.exprs, e)
	t.ids[e] = len(t.exprs) - 1
	return len(t.exprs) - 1
}

// maxVisits bounds how often a block is gone through.
const maxVisits = 64

// run follows all ways until nothing changes.
func (t *tracker) run() bool {
	first := &flowState{stack: map[int64]value{}}
	for r := range first.regs {
		first.regs[r] = value{id: t.intern(expr{kind: exprEntry, reg: arch.Reg(r)})}
	}
	t.reach(0, first)
	for {
		for len(t.work) > 0 {
			i := t.work[len(t.work)-1]
			t.work = t.work[:len(t.work)-1]
			if t.visits[i]++; t.visits[i] > maxVisits {
				return false
			}
			t.block(i, -1)
		}
		if t.orphan == nil {
			return true
		}
		// Blocks that only a table of jumps can lead to.
		s := t.orphan
		t.orphan = nil
		for off := range t.lead {
			if i, ok := t.at[off]; ok && t.in[i] == nil && t.list[i].inst.Op != x86asm.INT {
				t.reach(i, s)
			}
		}
	}
}

// reach joins what is known on a way to a block with what is known on the others.
func (t *tracker) reach(i int, s *flowState) {
	old := t.in[i]
	if old == nil {
		t.in[i] = s.clone()
		t.work = append(t.work, i)
		return
	}
	if t.join(i, old, s) {
		t.work = append(t.work, i)
	}
}

// join makes old what holds on both ways, and tells whether that changed it.
func (t *tracker) join(i int, old, s *flowState) bool {
	changed := false
	for r := range old.regs {
		if old.regs[r] != s.regs[r] {
			v := value{id: t.intern(expr{kind: exprMerge, at: i, reg: arch.Reg(r), slot: 1})}
			changed = changed || old.regs[r] != v
			old.regs[r] = v
		}
	}
	for slot, v := range old.stack {
		if s.stack[slot] != v {
			delete(old.stack, slot)
			changed = true
		}
	}
	if old.zeroOf != s.zeroOf || old.site != s.site {
		changed = changed || old.zeroOf != 0 || old.site != 0
		old.zeroOf, old.site = 0, 0
	}
	must := len(old.must)
	old.must = slices.DeleteFunc(old.must, func(v value) bool { return !slices.Contains(s.must, v) })
	changed = changed || len(old.must) != must
	given := joinGiven(old, s)
	return joinHeld(old, s) || given || changed
}

func joinHeld(old, s *flowState) bool {
	changed := false
	for i := range s.held {
		h := s.held[i]
		switch o := find(old.held, &h); {
		case o == nil:
			old.held, changed = append(old.held, h), true
		case o.cond != h.cond && o.cond != 0:
			o.cond, changed = 0, true
		}
	}
	return changed
}

func find(list []held, h *held) *held {
	for i := range list {
		if list[i].Site == h.Site && list[i].where == h.where {
			return &list[i]
		}
	}
	return nil
}

func joinGiven(old, s *flowState) bool {
	changed := false
	for i := range old.given {
		if o := &old.given[i]; o.Sure && !slices.ContainsFunc(s.given, func(g Given) bool { return g.Site == o.Site && g.Sure }) {
			o.Sure, changed = false, true
		}
	}
	for _, g := range s.given {
		if !slices.ContainsFunc(old.given, func(o Given) bool { return o.Site == g.Site && o.where == g.where }) {
			g.Sure = false
			old.given, changed = append(old.given, g), true
		}
	}
	return changed
}

// before is what is known before an instruction; nil where no way leads there.
func (t *tracker) before(i int) *flowState {
	first := i
	for first > 0 && !t.lead[t.list[first].at] {
		first--
	}
	if t.in[first] == nil {
		return nil
	}
	return t.block(first, i)
}

// block goes through a block, up to an instruction if that is not negative, and
// passes on what it found to those that follow.
func (t *tracker) block(i, stop int) *flowState {
	s := t.in[i].clone()
	for ; i < len(t.list); i++ {
		if i == stop {
			return s
		}
		p := &t.list[i]
		next := p.at + p.inst.Len
		switch f := flow(p.inst.Op); f {
		case arch.Return, arch.Stop:
			return s
		case arch.Jump, arch.Branch:
			if stop < 0 {
				t.leave(s, p, f, next)
			}
			return s
		case arch.Call:
			t.call(s, p, next)
		default:
			t.step(s, p)
		}
		if t.lead[next] {
			if stop < 0 {
				if n, ok := t.at[next]; ok {
					t.reach(n, s)
				}
			}
			return s
		}
	}
	return s
}

// leave follows a jump or branch.
func (t *tracker) leave(s *flowState, p *placed, f arch.Flow, next int) {
	rel, ok := p.inst.Args[0].(x86asm.Rel)
	if !ok {
		if f == arch.Jump {
			if t.orphan == nil {
				t.orphan = s.clone()
			}
			t.orphan.must = nil
		}
		return
	}
	if n, inside := t.at[next+int(rel)]; inside {
		t.reach(n, t.decided(s, p.inst.Op, true))
	}
	if n, ok := t.at[next]; ok && f == arch.Branch {
		t.reach(n, t.decided(s, p.inst.Op, false))
	}
}
