package printk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// recordLog writes into a record ring as printk did from 3.5 to 5.9: a record
// takes a header, text, dictionary and padding; before it is stored, old ones
// give way until there is room for it and for one more header.
type recordLog struct {
	*ram
	size, header    uint32
	name            string
	caller, old     bool
	buf             uint64
	first, next     uint32
	firstAt, nextAt uint64
	kept            []Record
}

type recordForm struct {
	name        string // empty where VMCOREINFO does not tell the layout
	caller, old bool
}

var recordForms = []recordForm{{old: true}, {name: "log", old: true}, {name: "log"}, {name: "printk_log"}, {name: "printk_log", caller: true}}

func newRecordLog(size uint32, f recordForm) *recordLog { return newRecordLogIn(newRAM(), size, f) }

func newRecordLogIn(r *ram, size uint32, f recordForm) *recordLog {
	l := &recordLog{ram: r, size: size, header: 16, name: f.name, caller: f.caller, old: f.old}
	pointer := l.variable("log_buf", 8)
	length := l.variable("log_buf_len", 4)
	l.firstAt, l.nextAt = l.variable("log_first_idx", 4), l.variable("log_next_idx", 4)
	if f.caller {
		l.header = 20
		l.say("OFFSET(%s.caller_id)=16", f.name)
	}
	if f.name != "" {
		l.say("SIZE(%s)=%d", f.name, l.header)
		l.say("OFFSET(%[1]s.ts_nsec)=0\nOFFSET(%[1]s.len)=8\nOFFSET(%[1]s.text_len)=10\nOFFSET(%[1]s.dict_len)=12", f.name)
	}
	l.buf = l.alloc(uint64(size))
	l.put64(pointer, l.buf)
	l.put32(length, size)
	return l
}

func (l *recordLog) store(r Record, dict string) {
	n := l.header + uint32(len(r.Text)+len(dict))
	pad := -n & 3
	n += pad
	for len(l.kept) > 0 && !l.room(n) {
		gone := uint32(l.bytes(l.buf + uint64(l.first))[8]) | uint32(l.bytes(l.buf + uint64(l.first))[9])<<8
		if gone == 0 {
			l.first = 0
			continue
		}
		l.first += gone
		l.kept = l.kept[1:]
		l.first = l.follow(l.first)
	}
	if l.next+n+l.header > l.size {
		clear(l.bytes(l.buf + uint64(l.next))[:l.header])
		l.next = 0
	}
	at := l.buf + uint64(l.next)
	l.put64(at, uint64(r.Time))
	l.put16(at+8, uint16(n))
	l.put16(at+10, uint16(len(r.Text)))
	l.put16(at+12, uint16(len(dict)))
	if l.old {
		l.put16(at+14, uint16(r.Facility)<<3|uint16(r.Level))
	} else {
		l.bytes(at + 14)[0] = byte(r.Facility)
		l.bytes(at + 15)[0] = byte(r.Flags) | byte(r.Level)<<5
	}
	if l.caller {
		id := r.Caller.ID
		if r.Caller.CPU {
			id |= 1 << 31
		}
		l.put32(at+16, id)
	}
	body := l.bytes(at + uint64(l.header))
	copy(body, r.Text)
	copy(body[len(r.Text):], dict)
	clear(body[len(r.Text)+len(dict):][:pad])
	l.next += n
	l.kept = append(l.kept, r)
	l.put32(l.firstAt, l.first)
	l.put32(l.nextAt, l.next)
}

// follow goes to the start of the ring where a header of zeros says so.
func (l *recordLog) follow(at uint32) uint32 {
	if b := l.bytes(l.buf + uint64(at)); b[8] == 0 && b[9] == 0 && at != l.next {
		return 0
	}
	return at
}

// room tells whether a record fits without reaching the oldest one.
func (l *recordLog) room(n uint32) bool {
	free := l.first - l.next
	if l.next >= l.first {
		free = max(l.size-l.next, l.first)
	}
	return free >= n+l.header
}

func randomText(r *rand.Rand, longest int) []byte {
	text := make([]byte, r.IntN(longest+1))
	for i := range text {
		text[i] = byte(' ' + r.IntN(95))
	}
	return text
}

// TestRecordRing writes random records round and round rings of several sizes
// and forms; all that the writer did not give up must come out.
func TestRecordRing(t *testing.T) {
	for _, f := range recordForms {
		for _, size := range []uint32{512, 4096, 16 << 10, 100 << 10} {
			rnd := rand.New(rand.NewPCG(uint64(size), 1))
			l := newRecordLog(size, f)
			var clock time.Duration
			for n := uint32(0); n < 3*size; n += 60 {
				clock += time.Duration(rnd.IntN(1e7))
				r := Record{Time: clock, Timed: true, Level: Level(rnd.IntN(8)), Facility: Facility(rnd.IntN(24)),
					Flags: FlagNewline, Text: randomText(rnd, 120)}
				if f.caller {
					r.Caller = Caller{ID: uint32(rnd.IntN(1 << 22)), CPU: rnd.IntN(2) == 0, Known: true}
				}
				dict := ""
				if rnd.IntN(4) == 0 {
					r.Dict = []Pair{{"SUBSYSTEM", []byte("pci")}, {"DEVICE", []byte("+pci:0000:00:1f.2")}}
					dict = "SUBSYSTEM=pci\x00DEVICE=+pci:0000:00:1f.2"
				}
				l.store(r, dict)
				checkRecords(t, l, fmt.Sprintf("%+v, %d bytes", f, size), n%1023 == 0 || n+60 >= 3*size)
			}
		}
	}
}

func checkRecords(t *testing.T, l *recordLog, what string, look bool) {
	t.Helper()
	if !look {
		return
	}
	log := openTest(t, l.source())
	records, lost := collect(log)
	if len(lost) > 0 {
		t.Fatalf("%s: lost %v", what, lost)
	}
	if log.Wrapped() != (l.first != 0) {
		t.Errorf("%s: wrapped: %v, the oldest record is at %#x", what, log.Wrapped(), l.first)
	}
	if len(records) != len(l.kept) {
		t.Fatalf("%s: %d records, want %d", what, len(records), len(l.kept))
	}
	for i, got := range records {
		want := l.kept[i]
		want.Seq = uint64(i)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: record %d is %v, want %v", what, i, got, want)
		}
	}
}

// TestContinuation: pieces of a line are records of their own up to 4.8.
func TestContinuation(t *testing.T) {
	l := newRecordLog(4096, recordForm{name: "printk_log"})
	for _, p := range []struct {
		text      string
		flags     Flags
		continues bool
	}{
		{"a whole line", FlagNewline | FlagPrefix, false},
		{"ata1: ", FlagPrefix | FlagCont, false},
		{"link up ", FlagCont, true},
		{"6.0 Gbps", FlagNewline | FlagCont, true},
		{"a piece after the end of a line", FlagCont, false},
		{"a new line with a level", FlagPrefix | FlagCont, false},
		{"next", FlagNewline, false},
	} {
		l.store(Record{Flags: p.flags, Level: LevelInfo, Text: []byte(p.text), Continues: p.continues}, "")
	}
	records, _ := collect(openTest(t, l.source()))
	for i, r := range records {
		if want := l.kept[i].Continues; r.Continues != want {
			t.Errorf("%q continues: %v, want %v", r.Text, r.Continues, want)
		}
	}
}

// damagedRecords makes a full ring, spoils it, and tells what could still be
// read, as the numbers in the texts.
func damagedRecords(t *testing.T, spoil func(l *recordLog)) (whole, left []string, lost []*LostError) {
	t.Helper()
	l := newRecordLog(16<<10, recordForm{name: "printk_log"})
	for i := range 1000 {
		text := fmt.Sprintf("message %d %s", i, strings.Repeat("y", i%50))
		l.store(Record{Time: time.Duration(i) * time.Millisecond, Flags: FlagNewline, Level: LevelInfo, Text: []byte(text)}, "")
	}
	records, _ := collect(openTest(t, l.source()))
	whole = texts(records)
	spoil(l)
	records, lost = collect(openTest(t, l.source()))
	return whole, texts(records), lost
}

func TestRecordRingDamaged(t *testing.T) {
	nth := func(l *recordLog, n int) uint64 {
		at := l.first
		for range n {
			at = l.follow(at + uint32(l.bytes(l.buf + uint64(at))[8]) + uint32(l.bytes(l.buf + uint64(at))[9])<<8)
		}
		return l.buf + uint64(at)
	}
	for _, c := range []struct {
		name  string
		spoil func(l *recordLog)
		gone  int // records
		cause error
	}{
		{"length 0", func(l *recordLog) { l.put16(nth(l, 40)+8, 0) }, -1, nil},
		{"length too small", func(l *recordLog) { l.put16(nth(l, 40)+8, 16) }, 1, ErrDamaged},
		{"length odd", func(l *recordLog) { l.put16(nth(l, 40)+8, 33) }, 1, ErrDamaged},
		{"length past the end", func(l *recordLog) { l.put16(nth(l, 40)+8, 0xfffc) }, 1, ErrDamaged},
		{"text longer than the record", func(l *recordLog) { l.put16(nth(l, 40)+10, 5000) }, 1, ErrDamaged},
		{"dictionary longer than the record", func(l *recordLog) { l.put16(nth(l, 40)+12, 5000) }, 1, ErrDamaged},
		{"a page of noise", func(l *recordLog) {
			page := (nth(l, 60) + testPage) &^ (testPage - 1)
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := range testPage {
				l.bytes(page)[i] = byte(rnd.Uint32())
			}
		}, -1, ErrDamaged},
		{"a hole", func(l *recordLog) { l.holes[(nth(l, 60)+testPage)&^(testPage-1)] = true }, -1, errHole},
	} {
		whole, left, lost := damagedRecords(t, c.spoil)
		gone := len(whole) - len(left)
		if c.cause != nil && (len(lost) == 0 || !errors.Is(lost[0], c.cause)) {
			t.Errorf("%s: lost %v", c.name, lost)
		}
		if c.gone >= 0 && gone != c.gone || c.gone < 0 && gone > 110 {
			t.Errorf("%s: %d of %d records are gone: %v", c.name, gone, len(whole), lost)
		}
		for _, text := range left {
			if !slices.Contains(whole, text) {
				t.Errorf("%s: a record %q that nobody wrote", c.name, text)
			}
		}
	}
}

func TestRecordHeadsDamaged(t *testing.T) {
	for name, spoil := range map[string]func(l *recordLog){
		"oldest beyond the end": func(l *recordLog) { l.put32(l.firstAt, 1<<20) },
		"newest beyond the end": func(l *recordLog) { l.put32(l.nextAt, 1<<20) },
		"oldest odd":            func(l *recordLog) { l.put32(l.firstAt, 6) },
	} {
		l := newRecordLog(4096, recordForm{name: "printk_log"})
		l.store(Record{Text: []byte("text")}, "")
		spoil(l)
		if _, err := open(l.source()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoiseIsRead: a ring of nothing sensible is passed over in a time that
// grows with its size.
func TestNoiseIsRead(t *testing.T) {
	l := newRecordLog(4<<20, recordForm{name: "printk_log"})
	l.store(Record{Flags: FlagNewline, Text: []byte("sense")}, "")
	noise := l.bytes(l.buf + uint64(l.next))[:l.size-l.next]
	for i := 0; i+16 <= len(noise); i += 16 {
		// Headers that make sense, and lead to one that does not.
		copy(noise[i:], "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\xf0\x07\x00\x00\x00\x00")
	}
	l.put32(l.nextAt, l.size-16)
	reads := 0
	s := l.source()
	s.mem = counting{l.ram, &reads}
	records, lost := collect(openTest(t, s))
	if len(records) == 0 || len(lost) == 0 || reads > 64<<20 {
		t.Errorf("%d records, %d losses, %d bytes read", len(records), len(lost), reads)
	}
}

// counting counts the bytes read.
type counting struct {
	memory
	bytes *int
}

func (c counting) Read(buf []byte, virt uint64) (int, error) {
	*c.bytes += len(buf)
	return c.memory.Read(buf, virt)
}
