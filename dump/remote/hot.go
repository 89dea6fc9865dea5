package remote

import "container/list"

// hotBlocks are the blocks in memory, the ones used last in front. It also
// knows the runs of reads: how many blocks were read one behind the other up
// to this one.
type hotBlocks struct {
	most  int
	order *list.List // of *hotBlock
	at    map[int64]*list.Element
	runs  map[int64]int64 // of blocks that were asked for, by number
}

type hotBlock struct {
	number int64
	data   []byte
}

func newHotBlocks(most int) *hotBlocks {
	return &hotBlocks{most: most, order: list.New(), at: map[int64]*list.Element{}, runs: map[int64]int64{}}
}

func (h *hotBlocks) has(i int64) bool { return h.at[i] != nil }

// get returns a block, nil if it is not there.
func (h *hotBlocks) get(i int64) []byte {
	e := h.at[i]
	if e == nil {
		return nil
	}
	h.order.MoveToFront(e)
	return e.Value.(*hotBlock).data
}

// put adds a block, in the place of the one not used for the longest time.
func (h *hotBlocks) put(i int64, data []byte) {
	if e := h.at[i]; e != nil {
		e.Value.(*hotBlock).data = data
		return
	}
	for h.order.Len() >= h.most {
		last := h.order.Back()
		delete(h.at, last.Value.(*hotBlock).number)
		h.order.Remove(last)
	}
	h.at[i] = h.order.PushFront(&hotBlock{i, data})
}

// touch notes that a block is asked for, and returns the length of the run
// that it ends.
func (h *hotBlocks) touch(i int64) int64 {
	if run, ok := h.runs[i]; ok {
		return run
	}
	if len(h.runs) >= 4*h.most {
		clear(h.runs) // runs begin anew; it costs a few small requests
	}
	run := h.runs[i-1] + 1
	h.runs[i] = run
	return run
}
