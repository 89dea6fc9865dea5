package lock

import "fmt"

// inLoop finds what a processor waits for in a loop of the function that it is in,
// rather than in one of its own for that: the bit of a bit lock, such as that of a
// hash chain (hlist_bl_lock, bit_spin_lock), or a sequence that is odd while a writer
// is inside (read_seqbegin).
func (b *builder) inLoop(s *stack) (found, bool) {
	i := 0
	for i < len(s.frames) && s.frames[i].ret {
		i++
	}
	if i == len(s.frames) || s.frames[i].pc < s.frames[i].fn.start {
		return found{}, false
	}
	code := b.code(s.frames[i].fn)
	loop, ok := b.arch.SpinLoop(code, s.frames[i].fn.start, int(s.frames[i].pc-s.frames[i].fn.start))
	if !ok {
		return found{}, false
	}
	f := found{addr: uint64(loop.Disp), method: ByRegister, sure: Likely, frame: i, pos: -1}
	if loop.HasBase {
		base, known := s.register(i, loop.Base)
		if !known {
			return found{}, false
		}
		f.addr += base
	}
	v, ok := b.uint32At(f.addr)
	if !ok || !inKernel(f.addr) || v>>(loop.Bit%32)&1 == 0 || loop.Bit > 31 {
		return found{}, false
	}
	f.value = f.addr
	f.text = fmt.Sprintf("it is in a loop that waits for bit %d to be cleared", loop.Bit)
	switch {
	case loop.Taken && loop.Bit == 0 && loop.Size == 8:
		f.kind = HlistBL
	case loop.Taken:
		f.kind, f.bit = BitLock, loop.Bit
	case loop.Size == 4 && loop.Bit == 0:
		f.kind, f.mode = Seqlock, Read
	default:
		return found{}, false
	}
	return f, true
}

// seqlockSpin is where a seqlock_t has the spinlock that its writers take, counted
// from the sequence.
func (b *builder) seqlockSpin() (uint64, bool) {
	t := typeOf(b.k, "seqlock_t", "struct seqlock")
	seq, ok1 := at(t, "seqcount.sequence", "seqcount.seqcount.sequence", "sequence")
	spin, ok2 := at(t, "lock")
	return spin - seq, ok1 && ok2
}

// loopWord tells the state of a lock that is waited for in a loop.
func (b *builder) loopWord(i int) {
	l := &b.snap.Locks[i]
	l.NoHolder = "a bit does not say who holds it"
	v, ok := b.uint32At(uint64(l.Addr))
	if !ok {
		return
	}
	l.Held, l.HeldKnown = v&1 != 0, true
	l.State = "the bit is set"
	if l.Kind == Seqlock {
		l.State, l.NoHolder = fmt.Sprintf("sequence %d, a writer is inside", v), "a sequence does not say who writes"
	}
	if !l.Held {
		l.State = "free again"
	}
	b.writersOrder(i)
}

// writersOrder tells the state of the spinlock that a seqlock's writers take, where that
// is known to lie beside the sequence.
func (b *builder) writersOrder(i int) {
	l := &b.snap.Locks[i]
	off, ok := b.seqlockSpin()
	if l.Kind != Seqlock || !ok {
		return
	}
	word, ok := b.uint32At(uint64(l.Addr) + off)
	if !ok {
		return
	}
	held, text := b.spins().state(word)
	if !held {
		return
	}
	l.State += "; its spinlock is " + text
	b.spinOrder(i, word)
}
