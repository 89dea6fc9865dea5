package printk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// ringLog writes into a printk_ringbuffer as the kernel does since 5.10: a record
// takes the next id and the descriptor of that id, then a block of text; blocks
// in the way are given up with their descriptors.
type ringLog struct {
	*ram
	descBits, textBits uint
	fitting            bool // since 6.18 a block may end where the ring ends
	prb, descs, infos  uint64
	text               uint64
	head, tail         uint64 // ids
	begin, end         uint64 // positions of the oldest block and behind the newest
	kept               []Record
}

// The layouts of 5.10 to 6.12 on 64-bit machines, as their VMCOREINFO has them.
const (
	testDesc, testInfo = 24, 88

	ringInfo = `SIZE(printk_ringbuffer)=88
OFFSET(printk_ringbuffer.desc_ring)=0
OFFSET(printk_ringbuffer.text_data_ring)=48
OFFSET(printk_ringbuffer.fail)=80
SIZE(prb_desc_ring)=48
OFFSET(prb_desc_ring.count_bits)=0
OFFSET(prb_desc_ring.descs)=8
OFFSET(prb_desc_ring.infos)=16
OFFSET(prb_desc_ring.head_id)=24
OFFSET(prb_desc_ring.tail_id)=32
SIZE(prb_desc)=24
OFFSET(prb_desc.state_var)=0
OFFSET(prb_desc.text_blk_lpos)=8
SIZE(prb_data_blk_lpos)=16
OFFSET(prb_data_blk_lpos.begin)=0
OFFSET(prb_data_blk_lpos.next)=8
SIZE(printk_info)=88
OFFSET(printk_info.seq)=0
OFFSET(printk_info.ts_nsec)=8
OFFSET(printk_info.text_len)=16
OFFSET(printk_info.caller_id)=20
OFFSET(printk_info.dev_info)=24
SIZE(dev_printk_info)=64
OFFSET(dev_printk_info.subsystem)=0
LENGTH(printk_info_subsystem)=16
OFFSET(dev_printk_info.device)=16
LENGTH(printk_info_device)=48
SIZE(prb_data_ring)=32
OFFSET(prb_data_ring.size_bits)=0
OFFSET(prb_data_ring.data)=8
OFFSET(prb_data_ring.head_lpos)=16
OFFSET(prb_data_ring.tail_lpos)=24
SIZE(atomic_long_t)=8
OFFSET(atomic_long_t.counter)=0`
)

func newRingLog(descBits, textBits uint) *ringLog { return newRingLogIn(newRAM(), descBits, textBits) }

func newRingLogIn(r *ram, descBits, textBits uint) *ringLog {
	l := &ringLog{ram: r, descBits: descBits, textBits: textBits}
	pointer := l.variable("prb", 8)
	l.say("%s", ringInfo)
	l.prb = l.alloc(88)
	l.put64(pointer, l.prb)
	l.descs, l.infos = l.alloc(testDesc<<descBits), l.alloc(testInfo<<descBits)
	l.text = l.alloc(1 << textBits)
	count := uint64(1) << descBits
	l.head = (-(count + 1)) & idMask
	l.tail = l.head
	l.begin = -(uint64(1) << textBits)
	l.end = l.begin
	l.put32(l.prb, uint32(descBits))
	l.put64(l.prb+8, l.descs)
	l.put64(l.prb+16, l.infos)
	l.put32(l.prb+48, uint32(textBits))
	l.put64(l.prb+56, l.text)
	l.put64(l.infos, -count) // the number of the first record, before it is taken
	last := l.desc(l.head)
	l.put64(last, l.head|stateReusable<<stateShift)
	l.put64(last+8, posFailed)
	l.put64(last+16, posFailed)
	l.heads()
	return l
}

func (l *ringLog) heads() {
	l.put64(l.prb+24, l.head)
	l.put64(l.prb+32, l.tail)
	l.put64(l.prb+64, l.end)
	l.put64(l.prb+72, l.begin)
}

func (l *ringLog) index(id uint64) uint64 { return id & (1<<l.descBits - 1) }
func (l *ringLog) desc(id uint64) uint64  { return l.descs + l.index(id)*testDesc }
func (l *ringLog) info(id uint64) uint64  { return l.infos + l.index(id)*testInfo }
func (l *ringLog) at(pos uint64) uint64   { return l.text + pos&(1<<l.textBits-1) }

// giveUp frees the descriptor of an id.
func (l *ringLog) giveUp(id uint64) {
	if l.get64(l.desc(id)) == id|stateReusable<<stateShift {
		return
	}
	l.put64(l.desc(id), id|stateReusable<<stateShift)
	// Mostly the first one; a record without text may stay behind.
	seq := l.get64(l.info(id))
	l.kept = slices.DeleteFunc(l.kept, func(r Record) bool { return r.Seq == seq })
}

// store writes a record and returns its id.
func (l *ringLog) store(r Record, state uint64) uint64 {
	count := uint64(1) << l.descBits
	id := (l.head + 1) & idMask
	if (id-count)&idMask == l.tail {
		l.giveUp(l.tail)
		l.freeBlocks(l.tail)
		l.tail = (l.tail + 1) & idMask
	}
	l.head = id
	info, desc := l.info(id), l.desc(id)
	seq := l.get64(info)
	if seq == 0 && l.index(id) != 0 {
		seq = l.index(id)
	} else {
		seq += count
	}
	clear(l.bytes(info)[:testInfo])
	l.put64(info, seq)
	l.put64(info+8, uint64(r.Time))
	l.put16(info+16, uint16(len(r.Text)))
	l.bytes(info + 18)[0] = byte(r.Facility)
	l.bytes(info + 19)[0] = byte(r.Flags) | byte(r.Level)<<5
	caller := r.Caller.ID
	if r.Caller.CPU {
		caller |= 1 << 31
	}
	l.put32(info+20, caller)
	for _, p := range r.Dict {
		switch p.Key {
		case "SUBSYSTEM":
			copy(l.bytes(info + 24)[:15], p.Value)
		case "DEVICE":
			copy(l.bytes(info + 40)[:47], p.Value)
		}
	}
	begin, next := l.block(id, r.Text)
	l.put64(desc+8, begin)
	l.put64(desc+16, next)
	l.put64(desc, id|state<<stateShift)
	r.Seq = seq
	l.kept = append(l.kept, r)
	l.heads()
	return id
}

// block takes room for a text.
func (l *ringLog) block(id uint64, text []byte) (begin, next uint64) {
	if len(text) == 0 {
		return posEmpty, posEmpty
	}
	size := uint64(1) << l.textBits
	n := (8 + uint64(len(text)) + 7) &^ 7
	begin, next = l.end, l.end+n
	last := next
	if l.fitting {
		last = next - 1
	}
	at := begin
	if last>>l.textBits != begin>>l.textBits {
		next = next&^(size-1) + n
		at = 0
	}
	for next-l.begin > size {
		owner := l.get64(l.at(l.begin))
		l.giveUp(owner)
		l.begin = l.get64(l.desc(owner) + 16)
	}
	l.put64(l.at(begin), id)
	l.put64(l.at(at), id)
	copy(l.bytes(l.at(at) + 8)[:len(text)], text)
	l.end = next
	return begin, next
}

// freeBlocks frees the blocks up to the one of an id, if that has one.
func (l *ringLog) freeBlocks(id uint64) {
	if begin := l.get64(l.desc(id) + 8); begin&1 != 0 || begin-l.begin >= 1<<l.textBits {
		return
	}
	for l.begin != l.end {
		owner := l.get64(l.at(l.begin))
		l.giveUp(owner)
		l.begin = l.get64(l.desc(owner) + 16)
		if owner == id {
			return
		}
	}
}

func randomRecord(rnd *rand.Rand, clock *time.Duration, longest int) Record {
	*clock += time.Duration(rnd.IntN(1e7))
	r := Record{Time: *clock, Timed: true, Level: Level(rnd.IntN(8)), Facility: Facility(rnd.IntN(24)), Flags: FlagNewline,
		Caller: Caller{ID: uint32(rnd.IntN(1 << 22)), CPU: rnd.IntN(2) == 0, Known: true}, Text: randomText(rnd, longest)}
	if rnd.IntN(4) == 0 {
		r.Dict = []Pair{{"SUBSYSTEM", []byte("pci")}, {"DEVICE", []byte("+pci:0000:00:1f.2")}}
	}
	return r
}

// TestRing writes random records round and round rings that run out of
// descriptors, of text, or of both, with the old and the new rule of wrapping.
func TestRing(t *testing.T) {
	for _, fitting := range []bool{false, true} {
		for _, c := range []struct{ desc, text uint }{{3, 12}, {6, 10}, {5, 10}, {8, 13}} {
			what := fmt.Sprintf("%d descriptors, %d bytes, fitting %v", 1<<c.desc, 1<<c.text, fitting)
			rnd := rand.New(rand.NewPCG(uint64(c.desc), uint64(c.text)))
			l := newRingLog(c.desc, c.text)
			l.fitting = fitting
			var clock time.Duration
			checkRing(t, l, what+", empty")
			for i := range 5 << c.desc {
				l.store(randomRecord(rnd, &clock, 80), uint64(stateCommitted+i&1))
				checkRing(t, l, fmt.Sprintf("%s, %d records", what, i+1))
			}
			if t.Failed() {
				return
			}
		}
	}
}

func checkRing(t *testing.T, l *ringLog, what string) {
	t.Helper()
	log := openTest(t, l.source())
	records, lost := collect(log)
	for _, e := range lost {
		// Descriptors are given up in the order of the text.
		if !e.ByKernel() {
			t.Fatalf("%s: lost %v", what, e)
		}
	}
	if wrapped := len(l.kept) > 0 && l.kept[0].Seq > 0; log.Wrapped() != wrapped {
		t.Errorf("%s: wrapped: %v", what, log.Wrapped())
	}
	if len(records) != len(l.kept) {
		t.Fatalf("%s: %d records, want %d", what, len(records), len(l.kept))
	}
	for i, got := range records {
		if !reflect.DeepEqual(got, l.kept[i]) {
			t.Fatalf("%s: record %d is %+v, want %+v", what, i, got, l.kept[i])
		}
	}
}

// TestRingDamaged spoils one record of some, and expects that one to be
// reported with its number, and all others.
func TestRingDamaged(t *testing.T) {
	const n, victim = 50, 20
	for _, c := range []struct {
		name     string
		spoil    func(l *ringLog, id uint64)
		cause    error
		byKernel bool
	}{
		{"reserved", func(l *ringLog, id uint64) { l.put64(l.desc(id), id) }, ErrUnfinished, true},
		{"never claimed", func(l *ringLog, id uint64) { l.put64(l.desc(id), 0) }, ErrDamaged, false},
		{"reusable", func(l *ringLog, id uint64) { l.put64(l.desc(id), id|stateReusable<<stateShift) }, ErrOverwritten, true},
		{"no room for the text", func(l *ringLog, id uint64) {
			l.put64(l.desc(id)+8, posFailed)
			l.put64(l.desc(id)+16, posFailed)
		}, ErrNoText, true},
		{"state of another id", func(l *ringLog, id uint64) { l.put64(l.desc(id), id+7) }, ErrDamaged, false},
		{"number of another record", func(l *ringLog, id uint64) { l.put64(l.info(id), 3) }, ErrDamaged, false},
		{"text longer than its block", func(l *ringLog, id uint64) { l.put16(l.info(id)+16, 500) }, ErrDamaged, false},
		{"block of another record", func(l *ringLog, id uint64) { l.put64(l.desc(id)+8, l.get64(l.desc(id-1)+8)) }, ErrDamaged, false},
		{"block at an odd place", func(l *ringLog, id uint64) { l.put64(l.desc(id)+8, l.get64(l.desc(id)+8)+4) }, ErrDamaged, false},
		{"block that ends before it begins", func(l *ringLog, id uint64) { l.put64(l.desc(id)+16, l.get64(l.desc(id)+8)-8) }, ErrDamaged, false},
		{"block over two rounds", func(l *ringLog, id uint64) { l.put64(l.desc(id)+16, l.get64(l.desc(id)+8)+3<<l.textBits) }, ErrDamaged, false},
	} {
		l := newRingLog(6, 13)
		var clock time.Duration
		rnd := rand.New(rand.NewPCG(1, 1))
		var id uint64
		for i := range n {
			r := randomRecord(rnd, &clock, 40)
			r.Text = fmt.Appendf(nil, "message %d", i)
			if at := l.store(r, stateFinalized); i == victim {
				id = at
			}
		}
		c.spoil(l, id)
		records, lost := collect(openTest(t, l.source()))
		if len(records) != n-1 {
			t.Errorf("%s: %d records", c.name, len(records))
		}
		if len(lost) != 1 || !errors.Is(lost[0], c.cause) || !lost[0].Numbered || lost[0].From != victim || lost[0].To != victim || lost[0].ByKernel() != c.byKernel {
			t.Errorf("%s: lost %v", c.name, lost)
		}
	}
}

// TestRingUnclaimed: the newest id may be taken, and its descriptor still be that
// of the round before, or of none.
func TestRingUnclaimed(t *testing.T) {
	for _, n := range []int{20, 100} {
		l := newRingLog(6, 13)
		for range n {
			l.store(Record{Text: []byte("text")}, stateFinalized)
		}
		if n > 64 {
			l.giveUp(l.tail)
			l.tail = (l.tail + 1) & idMask
		}
		l.head = (l.head + 1) & idMask
		l.heads()
		records, lost := collect(openTest(t, l.source()))
		if len(lost) != 1 || !errors.Is(lost[0], ErrUnfinished) || lost[0].From != uint64(n) || len(records) < 20 {
			t.Errorf("%d records of %d, lost %v", len(records), n, lost)
		}
	}
}

// TestRingRunsOfLosses: records lost for the same reason are one gap.
func TestRingRunsOfLosses(t *testing.T) {
	l := newRingLog(10, 16)
	var clock time.Duration
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		l.store(randomRecord(rnd, &clock, 40), stateFinalized)
	}
	// The descriptors of a page, 170 or 171 of them, and the infos of another.
	l.holes[l.descs+testPage] = true
	l.holes[l.infos] = true
	records, lost := collect(openTest(t, l.source()))
	total := uint64(len(records))
	last := uint64(0)
	for i, e := range lost {
		total += e.Records
		if !errors.Is(e, errHole) || !e.Numbered || e.To-e.From+1 != e.Records || i > 0 && e.From <= last {
			t.Errorf("lost %+v", e)
		}
		last = e.To
	}
	if len(lost) != 2 || total != 1000 || lost[0].From != 0 {
		t.Errorf("%d records, lost %v", len(records), lost)
	}
}

func TestRingHeadsDamaged(t *testing.T) {
	fill := func() *ringLog {
		l := newRingLog(5, 12)
		var clock time.Duration
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 100 {
			l.store(randomRecord(rnd, &clock, 40), stateFinalized)
		}
		return l
	}
	for name, spoil := range map[string]func(l *ringLog){
		"huge ring of descriptors":  func(l *ringLog) { l.put32(l.prb, 25) },
		"no descriptors":            func(l *ringLog) { l.put32(l.prb, 0) },
		"impossible descriptors":    func(l *ringLog) { l.put32(l.prb, 63) },
		"ring of text too large":    func(l *ringLog) { l.put32(l.prb+48, 31) },
		"impossible ring of text":   func(l *ringLog) { l.put32(l.prb+48, 200) },
		"no structure of that size": func(l *ringLog) { l.vars.Reset(); l.say("SYMBOL(prb)=%x\nSIZE(prb_desc)=99999", l.prb) },
	} {
		l := fill()
		spoil(l)
		if _, err := open(l.source()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(l *ringLog){
		"oldest id": func(l *ringLog) { l.put64(l.prb+32, 0x123456) },
		"newest id": func(l *ringLog) { l.put64(l.prb+24, 0x123456) },
	} {
		l := fill()
		whole, _ := collect(openTest(t, l.source()))
		spoil(l)
		records, lost := collect(openTest(t, l.source()))
		if len(lost) == 0 || !errors.Is(lost[0], ErrDamaged) || !slices.EqualFunc(records, whole, func(a, b Record) bool { return a.Seq == b.Seq && bytes.Equal(a.Text, b.Text) }) {
			t.Errorf("%s damaged: %d records of %d, lost %v", name, len(records), len(whole), lost)
		}
	}
}

func TestNoLog(t *testing.T) {
	r := newRAM()
	r.say("OSRELEASE=6.1.0")
	if _, err := open(r.source()); !errors.Is(err, ErrNoLog) {
		t.Errorf("without symbols: %v", err)
	}
	r.variable("prb", 8)
	if _, err := open(r.source()); !errors.Is(err, ErrNoLog) {
		t.Errorf("without sizes: %v", err)
	}
}

// TestStop: an iteration may end at any record.
func TestStop(t *testing.T) {
	logs := map[string]source{}
	ring := newRingLog(5, 12)
	records := newRecordLog(4096, recordForm{name: "printk_log"})
	lines := newByteLog(4096)
	for i := range 20 {
		ring.store(Record{Text: []byte("text")}, stateFinalized)
		records.store(Record{Flags: FlagNewline, Text: []byte("text")}, "")
		lines.print(fmt.Sprintf("<6>[    0.%06d] text\n", i))
	}
	ring.put64(ring.desc(3), 3) // a gap to stop at, too
	logs["ring"], logs["records"], logs["lines"] = ring.source(), records.source(), lines.source()
	for name, s := range logs {
		l := openTest(t, s)
		for stop := range 20 {
			n := 0
			for range l.Records() {
				if n++; n > stop {
					break
				}
			}
			if n != stop+1 {
				t.Errorf("%s: stopped at %d, saw %d", name, stop, n)
			}
		}
	}
}

func TestBigEndianFlags(t *testing.T) {
	for _, c := range []struct {
		order binary.ByteOrder
		b     byte
	}{{binary.LittleEndian, 2 | 5<<5}, {binary.BigEndian, 2<<3 | 5}} {
		s := source{order: c.order}
		if flags, level := s.splitFlags(c.b); flags != 2 || level != 5 {
			t.Errorf("%v: flags %d, level %d", c.order, flags, level)
		}
	}
}
