package printk

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
)

// A printk_ringbuffer, since 5.10 (Linux kernel/printk/printk_ringbuffer.h): a
// ring of descriptors, as many structures printk_info beside them, and a ring of
// text. A record's id counts up and leads to its descriptor; the descriptor's
// state_var repeats the id, with the state in the two topmost bits, and names
// the block of text, which starts with the id again.
type ring struct {
	source
	lay   ringLayout
	bits  uint   // there are 1<<bits descriptors
	descs uint64 // virtual address of the array of prb_desc
	infos uint64 // virtual address of the array of printk_info
	head  uint64 // id of the newest record
	tail  uint64 // id of the oldest
	text  textRing
}

// textRing is struct prb_data_ring. A position counts bytes for ever; its low
// bits are the offset in the ring.
type textRing struct {
	bits uint
	data uint64 // virtual address
	size uint64 // 1 << bits
}

// ringLayout is where the members are, in bytes. Facility, flags and level follow
// text_len; VMCOREINFO does not name them.
type ringLayout struct {
	desc, state, begin, next       int // struct prb_desc and its members
	info, seq, ts, textLen, caller int // struct printk_info and its members
	// The arrays of struct dev_printk_info within it; their lengths are 0
	// where VMCOREINFO does not have them.
	subsystem, subsystemLen, device, deviceLen int
}

// States of a descriptor (enum desc_state). Before the first record all is
// zero, and the newest and oldest descriptor is a reusable one.
const (
	stateReserved  = 0
	stateCommitted = 1
	stateFinalized = 2
	stateReusable  = 3

	stateShift = 62
	idMask     = 1<<stateShift - 1
)

// Positions of blocks that are none (FAILED_LPOS; NO_LPOS, since 6.7
// EMPTY_LINE_LPOS): all real ones are even.
const (
	posFailed = 1
	posEmpty  = 3
)

// maxDescBits: the kernel makes a descriptor for each 32 bytes of text
// (PRB_AVGBITS), and no log is longer than 1<<31.
const maxDescBits = 26

func openRing(s source) (*Log, error) {
	r := &ring{source: s}
	if err := r.readLayout(); err != nil {
		return nil, err
	}
	if err := r.readHeads(); err != nil {
		return nil, err
	}
	return &Log{form: FormRing, size: r.text.size, wrapped: sync.OnceValue(r.wrapped), records: r.walk}, nil
}

func (r *ring) readLayout() error {
	k := keys{names: r.names}
	l := &r.lay
	l.desc = k.size("prb_desc")
	pair := k.size("prb_data_blk_lpos")
	l.state = k.offset("prb_desc.state_var", 8, l.desc)
	lpos := k.offset("prb_desc.text_blk_lpos", pair, l.desc)
	l.begin = lpos + k.offset("prb_data_blk_lpos.begin", 8, pair)
	l.next = lpos + k.offset("prb_data_blk_lpos.next", 8, pair)

	l.info = k.size("printk_info")
	l.seq = k.offset("printk_info.seq", 8, l.info)
	l.ts = k.offset("printk_info.ts_nsec", 8, l.info)
	l.textLen = k.offset("printk_info.text_len", 4, l.info)
	l.caller = k.offset("printk_info.caller_id", 4, l.info)
	r.readDevLayout(&k)
	return k.err
}

// readDevLayout reads the place of the dictionary, without which a log can be
// read as well.
func (r *ring) readDevLayout(k *keys) {
	l := &r.lay
	dev, ok := r.names.Offset("printk_info.dev_info")
	if !ok {
		return
	}
	place := func(member, length string) (int, int) {
		off, ok1 := r.names.Offset("dev_printk_info." + member)
		n, ok2 := r.names.Length(length)
		if !ok1 || !ok2 || n > largestStruct {
			return 0, 0
		}
		return k.within("OFFSET(dev_printk_info."+member+")", dev+off, int(n), l.info), int(n)
	}
	l.subsystem, l.subsystemLen = place("subsystem", "printk_info_subsystem")
	l.device, l.deviceLen = place("device", "printk_info_device")
}

// readHeads reads the struct printk_ringbuffer that prb points to.
func (r *ring) readHeads() error {
	k := keys{names: r.names}
	pointer := k.symbol("prb")
	size := k.size("printk_ringbuffer")
	descRing, dataRing := k.size("prb_desc_ring"), k.size("prb_data_ring")
	dr := k.offset("printk_ringbuffer.desc_ring", descRing, size)
	tr := k.offset("printk_ringbuffer.text_data_ring", dataRing, size)
	countBits := dr + k.offset("prb_desc_ring.count_bits", 4, descRing)
	descs := dr + k.offset("prb_desc_ring.descs", 8, descRing)
	infos := dr + k.offset("prb_desc_ring.infos", 8, descRing)
	head := dr + k.offset("prb_desc_ring.head_id", 8, descRing)
	tail := dr + k.offset("prb_desc_ring.tail_id", 8, descRing)
	sizeBits := tr + k.offset("prb_data_ring.size_bits", 4, dataRing)
	data := tr + k.offset("prb_data_ring.data", 8, dataRing)
	if k.err != nil {
		return k.err
	}
	addr, err := r.u64(pointer)
	if err != nil {
		return fmt.Errorf("reading prb: %w", err)
	}
	if addr == 0 {
		return damaged("prb is a null pointer")
	}
	buf := make([]byte, size)
	if _, err := r.mem.Read(buf, addr); err != nil {
		return fmt.Errorf("reading the printk_ringbuffer: %w", err)
	}
	u32 := func(at int) uint { return uint(r.order.Uint32(buf[at:])) }
	u64 := func(at int) uint64 { return r.order.Uint64(buf[at:]) }
	r.bits, r.descs, r.infos = u32(countBits), u64(descs), u64(infos)
	r.head, r.tail = u64(head)&idMask, u64(tail)&idMask
	r.text.bits, r.text.data = u32(sizeBits), u64(data)
	return r.checkHeads()
}

func (r *ring) checkHeads() error {
	if r.bits == 0 || r.bits > maxDescBits {
		return damaged("its ring of descriptors has 2 to the power of %d of them", r.bits)
	}
	if r.text.bits > 31 {
		return damaged("its ring of text has 2 to the power of %d bytes", r.text.bits)
	}
	r.text.size = 1 << r.text.bits
	if err := r.checkSize("ring of text", r.text.size); err != nil {
		return err
	}
	return r.checkSize("ring of descriptors", uint64(r.lay.desc+r.lay.info)<<r.bits)
}

// span tells which ids to walk: from the first on, n of them. Where head and
// tail are too far apart, one of them is damaged; the one that its own
// descriptor agrees with is believed.
func (r *ring) span() (first, n uint64, err error) {
	count := uint64(1) << r.bits
	n = (r.head-r.tail)&idMask + 1
	if n <= count {
		return r.tail, n, nil
	}
	err = damaged("its oldest record has id %#x and its newest %#x, and there are %d descriptors", r.tail, r.head, count)
	if state, e := r.u64(r.descAddr(r.head) + uint64(r.lay.state)); e == nil && state&idMask == r.head {
		return (r.head - count + 1) & idMask, count, err
	}
	return r.tail, count, err
}

func (r *ring) index(id uint64) uint64    { return id & (1<<r.bits - 1) }
func (r *ring) descAddr(id uint64) uint64 { return r.descs + r.index(id)*uint64(r.lay.desc) }
func (r *ring) infoAddr(id uint64) uint64 { return r.infos + r.index(id)*uint64(r.lay.info) }

// wrapped: the kernel numbers its records from 0 on.
func (r *ring) wrapped() bool {
	for rec, err := range r.walk {
		if err == nil {
			return rec.Seq != 0
		}
	}
	return false
}

// walk goes through the descriptors from the oldest to the newest.
func (r *ring) walk(yield func(Record, error) bool) {
	w := ringWalk{ring: r, parts: parts{yield: yield}, desc: make([]byte, r.lay.desc), info: make([]byte, r.lay.info)}
	first, n, err := r.span()
	if err != nil && !w.lost(&LostError{Records: 1, Addr: r.descs, Err: err}) {
		return
	}
	for i := range n {
		rec, err := w.read((first + i) & idMask)
		if err == nil {
			w.flush(rec.Seq, true)
			w.prev, w.any = rec.Seq, true
			w.record(rec)
		} else if !w.any && w.run == nil && err == ErrOverwritten {
			continue // given up before the dump was taken
		} else {
			w.miss(r.descAddr(first+i), err)
		}
		if w.stopped {
			return
		}
	}
	w.flush(0, false)
}

// ringWalk is the state of one walk.
type ringWalk struct {
	parts
	*ring
	desc, info []byte     // buffers
	texts      uint64     // bytes of text handed out
	prev       uint64     // number of the last record that was read
	any        bool       // whether there was one
	run        *LostError // the records lost since
}

// miss adds a record to the run of lost ones, which ends where the reason
// becomes another one.
func (w *ringWalk) miss(addr uint64, err error) {
	if w.run != nil && reason(w.run.Err) != reason(err) {
		w.flush(0, false)
	}
	if w.run == nil {
		w.run = &LostError{Addr: addr, Err: err}
	}
	w.run.Records++
}

// reason groups errors into runs.
func reason(err error) error {
	for _, kind := range []error{ErrUnfinished, ErrOverwritten, ErrNoText, ErrDamaged} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

// flush hands out the run of lost records. Their numbers follow from those of
// the record before or behind them.
func (w *ringWalk) flush(next uint64, known bool) {
	e := w.run
	if w.run = nil; e == nil {
		return
	}
	switch {
	case w.any:
		e.From, e.Numbered = w.prev+1, true
		// What is lost next follows behind these.
		w.prev += e.Records
	case known && next >= e.Records:
		e.From, e.Numbered = next-e.Records, true
	}
	e.To = e.From + e.Records - 1
	w.lost(e)
}

// read reads the record of an id.
func (w *ringWalk) read(id uint64) (Record, error) {
	if _, err := w.mem.Read(w.desc, w.descAddr(id)); err != nil {
		return Record{}, err
	}
	state := w.order.Uint64(w.desc[w.lay.state:])
	if err := w.checkState(id, state); err != nil {
		return Record{}, err
	}
	if _, err := w.mem.Read(w.info, w.infoAddr(id)); err != nil {
		return Record{}, err
	}
	rec := w.parseInfo()
	if w.index(rec.Seq) != w.index(id) {
		return rec, damaged("the record of id %#x has the number %d, which belongs to another descriptor", id, rec.Seq)
	}
	n := int(w.order.Uint16(w.info[w.lay.textLen:]))
	if w.texts += uint64(n); w.texts > w.text.size {
		return rec, damaged("the records are longer than the ring that holds them")
	}
	var err error
	rec.Text, err = w.readText(id, n)
	return rec, err
}

// maxUnclaimed is how many of the newest ids may have been taken without their
// descriptors saying so yet: there are a few instructions between the two.
const maxUnclaimed = 16

// checkState tells whether a descriptor holds the record of an id.
func (w *ringWalk) checkState(id, state uint64) error {
	if state&idMask != id {
		before := (id - 1<<w.bits) & idMask
		if (state == 0 || state&idMask == before) && (w.head-id)&idMask < maxUnclaimed {
			return ErrUnfinished
		}
		return damaged("the descriptor of id %#x says %#x", id, state)
	}
	switch state >> stateShift {
	case stateReserved:
		return ErrUnfinished
	case stateReusable:
		return ErrOverwritten
	}
	return nil
}

func (w *ringWalk) parseInfo() Record {
	l := &w.lay
	rec := Record{
		Seq:    w.order.Uint64(w.info[l.seq:]),
		Time:   sinceBoot(w.order.Uint64(w.info[l.ts:])),
		Timed:  true,
		Caller: callerOf(w.order.Uint32(w.info[l.caller:])),
	}
	rec.Facility = Facility(w.info[l.textLen+2])
	rec.Flags, rec.Level = w.splitFlags(w.info[l.textLen+3])
	for _, e := range []struct {
		key string
		val []byte
	}{{"SUBSYSTEM", w.info[l.subsystem:][:l.subsystemLen]}, {"DEVICE", w.info[l.device:][:l.deviceLen]}} {
		if val, _, _ := bytes.Cut(e.val, []byte{0}); len(val) > 0 {
			rec.Dict = append(rec.Dict, Pair{e.key, bytes.Clone(val)})
		}
	}
	return rec
}

// readText reads the text of the record in w.desc. The block lies at begin, or,
// where it would reach past the end of the ring, at the ring's start. Up to
// 6.17 that is also where a block goes that would end at the end exactly; such
// ones have no next position at the start, so that they cannot be mistaken.
func (w *ringWalk) readText(id uint64, n int) ([]byte, error) {
	begin := w.order.Uint64(w.desc[w.lay.begin:])
	next := w.order.Uint64(w.desc[w.lay.next:])
	switch {
	case begin == posEmpty && next == posEmpty:
		return []byte{}, nil
	case begin == posFailed && next == posFailed:
		return nil, ErrNoText
	case begin%8 != 0 || next%8 != 0:
		return nil, damaged("the text of the record of id %#x is at the odd positions %#x to %#x", id, begin, next)
	}
	t := &w.text
	at, size := uint64(0), next-begin
	switch {
	case size-1 < t.size && begin>>t.bits == (next-1)>>t.bits:
		at = begin & (t.size - 1)
	case (begin+t.size)>>t.bits == next>>t.bits:
		size = next & (t.size - 1)
	default:
		return nil, damaged("the text of the record of id %#x reaches from %#x to %#x", id, begin, next)
	}
	if size < uint64(8+n) {
		return nil, damaged("the record of id %#x has %d bytes of text in a block of %d", id, n, size)
	}
	block := make([]byte, 8+n)
	if _, err := w.mem.Read(block, w.text.data+at); err != nil {
		return nil, err
	}
	if owner := w.order.Uint64(block); owner != id {
		return nil, damaged("the text of the record of id %#x belongs to id %#x", id, owner)
	}
	return block[8:], nil
}
