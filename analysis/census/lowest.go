package census

import "slices"

// lowest keeps the lowest of the addresses that it is shown, and counts the others: what it
// keeps does not depend on which worker met which of them.
type lowest struct {
	most int
	list []uint64
	more uint64
}

func (l *lowest) add(addr uint64) {
	l.list = append(l.list, addr)
	if len(l.list) >= 2*l.most { // twice as many before sorting, so that it costs little
		l.trim()
	}
}

// merge adds what another kept and counted.
func (l *lowest) merge(o *lowest) {
	l.list = append(l.list, o.list...)
	l.more += o.more
	l.trim()
}

// sorted are the addresses kept, the lowest first.
func (l *lowest) sorted() []uint64 {
	l.trim()
	return l.list
}

func (l *lowest) trim() {
	slices.Sort(l.list)
	n := min(len(l.list), l.most)
	l.more += uint64(len(l.list) - n)
	l.list = l.list[:n]
}
