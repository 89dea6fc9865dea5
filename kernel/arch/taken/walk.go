package taken

import (
	"slices"

	"github.com/kmortem/mortem/kernel/arch"
)

type exprKind uint8

const (
	exprConst  exprKind = iota
	exprEntry           // a register as it was at the function's entry
	exprLoad            // what was in memory
	exprFresh           // what an instruction came up with
	exprMerge           // different things on different ways
	exprOwn             // of the processor or task: the same as long as the task stays
	exprBits            // another number with bits set or cleared
	exprDiffer          // zero where two numbers are equal
	exprCount           // address of the processor's own counter, to which a pointer in memory leads
)

// expr is the origin of a number.
type expr struct {
	kind     exprKind
	reg      arch.Reg
	at       int // the instruction or place
	from, to Value
	size     int
	slot     int64
}

// Walk follows one function.
type Walk struct {
	code    Code
	conv    Convention
	places  []Place
	at      map[int]int // instruction by offset
	lead    map[int]bool
	start   uint64
	effects func(uint64) []Effect
	exprs   []expr
	ids     map[expr]int
	in      map[int]*State // by instruction that begins a block
	ways    map[int][]way  // to it, in the order of where they come from
	work    []int
	orphan  *State         // before a jump to a place that is not known
	stops   map[int]*State // behind an instruction that leads nowhere, by instruction
	visits  map[int]int
	merged  map[int]*merges
	kept    int // numbers in ways
	steps   int // instructions that were carried out
}

func newWalk(m Machine, code []byte, start uint64, effects func(uint64) []Effect) *Walk {
	w := &Walk{code: m.Code(code, start), conv: m.Convention(), at: map[int]int{}, lead: map[int]bool{0: true}, start: start,
		effects: effects, ids: map[expr]int{}, in: map[int]*State{}, ways: map[int][]way{}, visits: map[int]int{}, stops: map[int]*State{}, exprs: []expr{{}, {kind: exprFresh}}}
	w.places = make([]Place, w.code.Len())
	for i := range w.places {
		p := w.code.Place(i)
		w.places[i] = p
		w.at[p.Offset] = i
		if p.Direct && p.Flow != arch.Call {
			w.lead[p.To] = true
		}
		if p.Flow == arch.Jump || p.Flow == arch.Branch || p.Flow == arch.Return || p.Flow == arch.Stop {
			w.lead[p.Offset+p.Len] = true
		}
	}
	return w
}

// index is the instruction at an offset, or the call that ends there.
func (w *Walk) index(offset int, returns bool) int {
	if !returns {
		if i, ok := w.at[offset]; ok {
			return i
		}
		return -1
	}
	for i := range w.places {
		if p := &w.places[i]; p.Offset+p.Len == offset && p.Flow == arch.Call {
			return i
		}
	}
	return -1
}

// intern gives an origin its id.
func (w *Walk) intern(e expr) int {
	if id, ok := w.ids[e]; ok {
		return id
	}
	w.exprs = append(w.exprs, e)
	w.ids[e] = len(w.exprs) - 1
	return len(w.exprs) - 1
}

// maxVisits bounds how often a block is gone through.
const maxVisits = 64

// maxKept bounds how many numbers are kept of one function, and maxSteps how many
// instructions are carried out to follow it.
const (
	maxKept  = 1 << 20
	maxSteps = 1 << 19
)

// run follows all ways until nothing changes: once to see what differs where ways meet,
// and once more to see what is taken.
func (w *Walk) run() bool {
	if !w.follow() {
		return false
	}
	w.again()
	return w.follow()
}

func (w *Walk) follow() bool {
	first := &State{stack: map[int64]Value{}}
	for r := range first.Regs {
		first.Regs[r] = Value{ID: w.intern(expr{kind: exprEntry, reg: arch.Reg(r)})}
	}
	w.reach(-1, 0, first)
	for {
		for len(w.work) > 0 {
			i := w.work[len(w.work)-1]
			w.work = w.work[:len(w.work)-1]
			if w.visits[i]++; w.visits[i] > maxVisits || w.kept > maxKept || w.steps > maxSteps {
				return false
			}
			w.block(i, -1)
		}
		if !w.behindStops() && !w.behindTables() {
			return true
		}
	}
}

// behindStops goes on behind an instruction that leads nowhere, where no other way leads
// to: the kernel's warnings are such an instruction, and return behind it.
func (w *Walk) behindStops() bool {
	for i := range w.places {
		if s := w.stops[i]; s != nil && w.in[i] == nil {
			w.reach(-1, i, s)
			return true
		}
	}
	return false
}

// behindTables goes on at blocks that only a table of jumps can lead to.
func (w *Walk) behindTables() bool {
	s := w.orphan
	w.orphan = nil
	for i := range w.places {
		if s != nil && w.in[i] == nil && w.lead[w.places[i].Offset] {
			w.reach(-1, i, s)
		}
	}
	return s != nil
}

// way is what is known at the end of one way to a block.
type way struct {
	from  int // the instruction at its end, and whether it jumps
	state *State
}

// settle is after how many visits of a block what is known there can only become less.
const settle = 8

// reach notes what is known on a way to the block that begins with an instruction: what
// is known there is what holds on all ways, each as it was found last.
func (w *Walk) reach(from, i int, s *State) {
	w.kept += len(s.stack) + maxRegisters
	at, found := slices.BinarySearchFunc(w.ways[i], from, func(x way, from int) int { return x.from - from })
	if found {
		w.kept -= len(w.ways[i][at].state.stack) + maxRegisters
		w.ways[i][at].state = s
	} else {
		w.ways[i] = slices.Insert(w.ways[i], at, way{from, s})
	}
	old := w.in[i]
	if old != nil && w.visits[i] > settle {
		if w.join(i, old, s) {
			w.wait(i)
		}
		return
	}
	now := w.ways[i][0].state.clone()
	for _, other := range w.ways[i][1:] {
		w.join(i, now, other.state)
	}
	w.joinRegisters(i, now)
	if old == nil || !now.same(old) {
		w.in[i] = now
		w.wait(i)
	}
}

// joinRegisters works out the registers before a block: what all ways to it agree on, but
// those that bring back what was merged there. What is known to differ in the end does
// so from the start.
func (w *Walk) joinRegisters(i int, now *State) {
	m := w.merged[i]
	for r := range now.Regs {
		self := w.merge(i, arch.Reg(r))
		v, some := self, m != nil && m.regs>>r&1 != 0
		for _, x := range w.ways[i] {
			switch have := x.state.Regs[r]; {
			case some && v == self || have == self:
			case !some:
				v, some = have, true
			case have != v:
				v = self
			}
		}
		now.Regs[r] = v
	}
	if m != nil {
		for slot := range m.slots {
			now.stack[slot] = Value{ID: unknown}
		}
	}
}

// merge is what differs on the ways to a block.
func (w *Walk) merge(i int, r arch.Reg) Value {
	return Value{ID: w.intern(expr{kind: exprMerge, at: i, reg: r})}
}

// merges are the registers and slots that differ on the ways to a block.
type merges struct {
	regs  uint32
	slots map[int64]struct{}
}

// again forgets all that was found but what differs where ways meet, so that nothing is
// left of what was taken for the same before the last way was seen.
func (w *Walk) again() {
	w.merged = map[int]*merges{}
	for i, s := range w.in {
		m := &merges{slots: map[int64]struct{}{}}
		for r := range s.Regs {
			if s.Regs[r] == w.merge(i, arch.Reg(r)) {
				m.regs |= 1 << r
			}
		}
		for slot, v := range s.stack {
			if v.ID == unknown {
				m.slots[slot] = struct{}{}
			}
		}
		w.merged[i] = m
	}
	w.in, w.ways, w.visits, w.stops = map[int]*State{}, map[int][]way{}, map[int]int{}, map[int]*State{}
	w.orphan, w.kept, w.steps = nil, 0, 0
}

// wait puts a block among those to be gone through, the first one of the code last.
func (w *Walk) wait(i int) {
	if at, found := slices.BinarySearchFunc(w.work, i, func(x, i int) int { return i - x }); !found {
		w.work = slices.Insert(w.work, at, i)
	}
}

// join makes old what holds on both ways, and tells whether that changed it.
func (w *Walk) join(i int, old, s *State) bool {
	changed := false
	for r := range old.Regs {
		if old.Regs[r] != s.Regs[r] {
			v := w.merge(i, arch.Reg(r))
			changed = changed || old.Regs[r] != v
			old.Regs[r] = v
		}
	}
	changed = joinStack(old.stack, s.stack) || changed
	if old.Flags != s.Flags && old.Flags != (Flags{}) {
		old.Flags, changed = Flags{}, true
	}
	if old.Exclusive != s.Exclusive && old.Exclusive != (Exclusive{}) {
		old.Exclusive, changed = Exclusive{}, true
	}
	must := len(old.must)
	old.must = slices.DeleteFunc(old.must, func(v Value) bool { return !slices.Contains(s.must, v) })
	changed = changed || len(old.must) != must
	for _, v := range s.freed {
		if !slices.Contains(old.freed, v) && len(old.freed) < maxHeld {
			old.freed, changed = append(old.freed, v), true
		}
	}
	given := joinGiven(old, s)
	return joinHeld(old, s) || given || changed
}

func joinStack(old, s map[int64]Value) bool {
	changed := false
	for slot, v := range old {
		if v.ID != unknown && s[slot] != v {
			old[slot], changed = Value{ID: unknown}, true
		}
	}
	for slot := range s {
		if _, found := old[slot]; !found {
			old[slot], changed = Value{ID: unknown}, true
		}
	}
	return changed
}

func joinHeld(old, s *State) bool {
	changed := false
	for i := range s.held {
		h := s.held[i]
		switch o := find(old.held, &h); {
		case o == nil:
			if len(old.held) < maxHeld {
				old.held, changed = append(old.held, h), true
			}
		case o.test != h.test && o.test != test{}:
			o.test, o.then, changed = test{}, test{}, true
		}
	}
	return changed
}

func joinGiven(old, s *State) bool {
	changed := false
	for i := range old.given {
		if o := &old.given[i]; o.Sure && !slices.ContainsFunc(s.given, func(g Given) bool { return g.Site == o.Site && g.Sure }) {
			o.Sure, changed = false, true
		}
	}
	for _, g := range s.given {
		if len(old.given) < maxHeld && !slices.ContainsFunc(old.given, func(o Given) bool { return o.Site == g.Site && o.where == g.where }) {
			g.Sure = false
			old.given, changed = append(old.given, g), true
		}
	}
	return changed
}

// before is what is known before an instruction; nil where no way leads there.
func (w *Walk) before(i int) *State {
	first := i
	for first > 0 && !w.lead[w.places[first].Offset] {
		first--
	}
	if w.in[first] == nil {
		return nil
	}
	return w.block(first, i)
}

// block goes through a block, up to an instruction if that is not negative, and
// passes on what it found to those that follow.
func (w *Walk) block(i, stop int) *State {
	s := w.in[i].clone()
	for ; i < len(w.places); i++ {
		if i == stop {
			return s
		}
		w.steps++
		p := &w.places[i]
		next := p.Offset + p.Len
		switch p.Flow {
		case arch.Return:
			return s
		case arch.Stop:
			if n, ok := w.at[next]; ok && stop < 0 {
				w.stops[n] = s
			}
			return s
		case arch.Jump, arch.Branch:
			if stop < 0 {
				w.leave(s, i, next)
			}
			return s
		case arch.Call:
			w.call(s, p)
		default:
			w.code.Step(w, s, i)
		}
		if w.lead[next] {
			if stop < 0 {
				if n, ok := w.at[next]; ok {
					w.reach(2*i, n, s)
				}
			}
			return s
		}
	}
	return s
}

// leave follows a jump or branch.
func (w *Walk) leave(s *State, i, next int) {
	p := &w.places[i]
	if !p.Direct {
		if p.Flow == arch.Jump {
			if w.orphan == nil {
				w.orphan = s.clone()
			}
			w.orphan.must = nil
		}
		return
	}
	var c Condition
	if p.Flow == arch.Branch {
		c = w.code.Condition(w, s, i)
	}
	if n, inside := w.at[p.To]; inside {
		w.reach(2*i+1, n, s.decided(c, true))
	}
	if n, ok := w.at[next]; ok && p.Flow == arch.Branch {
		w.reach(2*i, n, s.decided(c, false))
	}
}

// clobber forgets the registers that a call does not keep.
func (w *Walk) clobber(s *State, at int) {
	for r := range arch.Reg(w.conv.Registers) {
		if w.conv.Kept>>r&1 == 0 && r != w.conv.SP {
			s.Regs[r] = w.fresh(at, r, 0)
		}
	}
	s.Flags, s.Exclusive = Flags{}, Exclusive{}
}

// call applies what is known of the called function.
func (w *Walk) call(s *State, p *Place) {
	site := w.start + uint64(p.Offset)
	args := s.Regs
	w.clobber(s, p.Offset)
	if !p.Direct {
		return
	}
	target := w.start + uint64(p.To)
	for _, e := range w.effects(target) {
		where := Value{Off: int64(e.Fixed)}
		if e.Fixed == 0 {
			if e.Arg < 0 || e.Arg >= len(w.conv.Args) {
				continue
			}
			where = args[w.conv.Args[e.Arg]]
		}
		if e.Give {
			s.give(where, Given{Site: site, Tag: e.Tag})
		}
		if e.Take {
			h := held{Taken: Taken{Site: site, Target: target, Tag: e.Tag, Bit: -1, Sure: e.Success == Always, where: where}}
			if e.Success != Always {
				h.test = test{id: s.Regs[w.conv.Result].ID, success: e.Success}
			}
			s.take(h)
		}
	}
}
