package lock_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// waitPage is struct wait_page_queue, since 4.13: of a page, and since 5.16 of a folio.
const (
	waitPage = `
struct wait_page_queue 56
0 8 page struct page *
8 4 bit_nr int
16 40 wait struct wait_queue_entry
`
	waitFolio = `
struct wait_page_queue 56
0 8 folio struct folio *
8 4 bit_nr int
16 40 wait struct wait_queue_entry
`
	bufferHead = `
struct buffer_head 104
0 8 b_state unsigned long
16 8 b_page struct page *
24 8 b_blocknr unsigned long
32 8 b_size size_t
48 8 b_bdev struct block_device *
struct block_device 64
40 4 bd_dev unsigned int
`
)

// bitWait makes at an address the entry of one who waits for a bit, in a queue of the
// hash table that all bits share.
func (m *machine) bitWait(at, word uint64, bit int, wake string, t *synthetic.Task) {
	tag, entry := "wait_bit_queue_entry", "wq_entry"
	if !m.Layout.HasStruct(tag) { // before 4.13
		tag, entry = "wait_bit_queue", "wait"
	}
	e := m.ObjectAt(tag, at)
	e.Set("key.flags", word).Set("key.bit_nr", uint64(uint32(bit)))
	m.queueEntry(e.At(entry), m.hashed(), wake, t)
}

// pageWait makes at an address the entry of one who waits for a bit of a page.
func (m *machine) pageWait(at, page uint64, bit int, t *synthetic.Task) {
	if !m.Layout.HasStruct("wait_page_queue") {
		m.bitWait(at, page, bit, "wake_bit_function", t) // its flags come first
		return
	}
	e := m.ObjectAt("wait_page_queue", at).SetAny(page, "folio", "page").Set("bit_nr", uint64(bit))
	m.queueEntry(e.At("wait"), m.hashed(), "wake_page_function", t)
}

// hashed is a wait_queue_head of its own in a table.
func (m *machine) hashed() uint64 {
	m.queues++
	if m.queues == 1 {
		m.table = m.Virt(m.AllocPages(0))
	}
	return m.table + uint64(m.queues)*64
}

// TestBitWaits: buffers, pages under writeback, locked pages, variables and other bits are
// told apart, in the forms of the entries and by the functions of the releases.
func TestBitWaits(t *testing.T) {
	for _, c := range []struct {
		layout *synthetic.Layout
		forms  string
		old    bool // the functions of 2.6.32 to 3.10
	}{{synthetic.EL6(), "", true}, {synthetic.EL7(), "", true}, {synthetic.V5_10(), waitPage, false}, {synthetic.V6_1(), waitFolio, false},
		{synthetic.V6_12(), waitFolio, false}, {synthetic.V7(), waitFolio, false}} {
		t.Run(c.layout.Name, func(t *testing.T) { checkBitWaits(t, newMachine(c.layout.Extend(c.forms+bufferHead), 1), c.old) })
	}
}

func checkBitWaits(t *testing.T, m *machine, old bool) {
	inner := []string{"io_schedule", "bit_wait_io", "__wait_on_bit", "out_of_line_wait_on_bit"}
	page := []string{"io_schedule", "folio_wait_bit_common"}
	if old {
		inner = []string{"io_schedule", "sync_buffer", "__wait_on_bit", "out_of_line_wait_on_bit"}
		page = []string{"io_schedule", "sync_page", "__wait_on_bit", "wait_on_page_bit"}
	}
	path := func(base []string, more ...string) []string { return append(append([]string(nil), base...), more...) }
	writeback := 1
	if v, ok := m.Layout.Constant("PG_writeback"); ok {
		writeback = int(v)
	}
	buffer, other := m.Alloc("buffer_head").Set("b_state", 1<<2).Set("b_blocknr", 4711), m.Var("the_bits", "unsigned long")
	m.PutUint64(other.Addr, 1<<5)
	dirty, locked, counter := m.Alloc("page"), m.Alloc("page"), m.Var("the_counter", "int")
	buffer.Set("b_size", 4096).Set("b_page", locked.Addr).Set("b_bdev", m.Alloc("block_device").Set("bd_dev", 254<<20|16).Addr)
	m.PutUint64(dirty.Addr, 1<<writeback)
	m.PutUint64(locked.Addr, 1)
	type want struct {
		kind    lock.Kind
		at      uint64
		bit     int
		held    bool
		purpose string
	}
	all := map[*synthetic.Task]want{}
	sleeps := func(comm string, path []string) (*synthetic.Task, uint64) {
		task := m.task(comm)
		return task, m.sleepIn(task, path...) + 8
	}
	task, at := sleeps("reads", path(inner, "__wait_on_buffer", "ext4_bread"))
	m.bitWait(at, buffer.Addr, 2, "wake_bit_function", task)
	all[task] = want{lock.BufferLock, buffer.Addr, 0, true, "block 4711 of device 254:16"}
	task, at = sleeps("locks", path(inner, "jbd2_journal_commit_transaction")) // from __lock_buffer, which jumped
	m.bitWait(at, buffer.Addr, 2, "wake_bit_function", task)
	all[task] = want{lock.BufferLock, buffer.Addr, 0, true, "block 4711 of device 254:16"}
	task, at = sleeps("syncs", path(page, "folio_wait_writeback", "filemap_fdatawait_range"))
	m.pageWait(at, dirty.Addr, writeback, task)
	all[task] = want{lock.Writeback, dirty.Addr, 0, false, ""}
	task, at = sleeps("faults", path(page, "__folio_lock", "filemap_fault"))
	m.pageWait(at, locked.Addr, 0, task)
	all[task] = want{lock.FolioLock, locked.Addr, 0, true, ""}
	task, at = sleeps("bit", path([]string{"bit_wait", "__wait_on_bit", "out_of_line_wait_on_bit"}, "driver"))
	m.bitWait(at, other.Addr, 5, "wake_bit_function", task)
	all[task] = want{lock.BitLock, other.Addr, 5, true, ""}
	if !old {
		task, at = sleeps("variable", []string{"driver_stop"})
		m.bitWait(at, counter.Addr, -1, "var_wake_function", task)
		all[task] = want{lock.VarWait, counter.Addr, 0, false, "awaited in driver_stop"}
	}
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	if got := len(all) - len(p.Locks); got != 1 {
		t.Errorf("%d locks, and two wait for one of them", len(p.Locks))
	}
	for task, c := range all {
		w := p.wait[task.PID]
		if w == nil {
			t.Errorf("%s: no wait was found: %+v", task.Comm, p.Unexplained)
			continue
		}
		l := p.Locks[w.Lock]
		if l.Kind != c.kind || uint64(l.Addr) != c.at || l.Bit != c.bit || l.Held != c.held || l.Purpose != c.purpose || w.Sure != lock.Certain || w.Methods[0] != lock.ByWaitList {
			t.Errorf("%s: %+v %+v, want %+v", task.Comm, l, w, c)
		}
	}
}
