package printk

import (
	"bytes"
	"fmt"
)

// A record ring, 3.5 to 5.9 (Linux kernel/printk.c, kernel/printk/printk.c since
// 3.11): records of a header, the text, the dictionary and padding, one behind
// the other. Where a record has no room before the end of the ring, a header of
// zeros says that it is at the start.
type recordRing struct {
	source
	lay   recordLayout
	addr  uint64 // virtual address of the ring
	size  uint64 // its bytes
	first uint64 // offset of the oldest record
	next  uint64 // offset behind the newest
	old   bool   // level and facility share 16 bits, and there are no flags: 3.5
}

// recordLayout is struct log, renamed to struct printk_log in 3.11. Facility,
// flags and level follow dict_len; VMCOREINFO does not name them.
type recordLayout struct {
	size, ts, len, textLen, dictLen int
	caller                          int // since 5.1 with CONFIG_PRINTK_CALLER, else -1
}

// recordAlign: records begin at multiples of 4 (LOG_ALIGN; 8 on machines that
// cannot read unaligned words).
const recordAlign = 4

// longestRecord is more than any record has: up to 1024 bytes of text
// (LOG_LINE_MAX), and a dictionary of 128.
const longestRecord = 4096

// header is what stands before the text of a record.
type header struct {
	len, text, dict uint64 // bytes of the whole record, the text, the dictionary
	raw             []byte
}

func openRecords(s source) (*Log, error) {
	r := &recordRing{source: s}
	if err := r.readLayout(); err != nil {
		return nil, err
	}
	if err := r.readHeads(); err != nil {
		return nil, err
	}
	r.old = r.withoutFlags()
	wrapped := func() bool { return r.first != 0 }
	return &Log{form: FormRecords, size: r.size, wrapped: wrapped, records: r.walk}, nil
}

func (r *recordRing) readLayout() error {
	l := &r.lay
	name := ""
	for _, n := range []string{"printk_log", "log"} {
		if _, ok := r.names.Size(n); ok {
			name = n
		}
	}
	if name == "" {
		// The first kernels with this log did not export its layout.
		*l = recordLayout{size: 16, ts: 0, len: 8, textLen: 10, dictLen: 12, caller: -1}
		return nil
	}
	k := keys{names: r.names}
	l.size = k.size(name)
	l.ts = k.offset(name+".ts_nsec", 8, l.size)
	l.len = k.offset(name+".len", 2, l.size)
	l.textLen = k.offset(name+".text_len", 2, l.size)
	l.dictLen = k.offset(name+".dict_len", 4, l.size)
	l.caller = -1
	if _, ok := r.names.Offset(name + ".caller_id"); ok {
		l.caller = k.offset(name+".caller_id", 4, l.size)
	}
	return k.err
}

func (r *recordRing) readHeads() error {
	k := keys{names: r.names}
	buf, size := k.symbol("log_buf"), k.symbol("log_buf_len")
	first, next := k.symbol("log_first_idx"), k.symbol("log_next_idx")
	if k.err != nil {
		return k.err
	}
	var err error
	if r.addr, err = r.u64(buf); err != nil {
		return fmt.Errorf("reading log_buf: %w", err)
	}
	for _, v := range []struct {
		addr uint64
		to   *uint64
	}{{size, &r.size}, {first, &r.first}, {next, &r.next}} {
		n, err := r.u32(v.addr)
		if err != nil {
			return err
		}
		*v.to = uint64(n)
	}
	if err := r.checkSize("ring", r.size); err != nil {
		return err
	}
	if r.first >= r.size || r.next > r.size || r.first%recordAlign != 0 || r.next%recordAlign != 0 {
		return damaged("its oldest record is at %#x and its end at %#x in a ring of %#x bytes", r.first, r.next, r.size)
	}
	return nil
}

// withoutFlags tells the first form of the header from the later ones, which
// have the same size: its last 16 bits are the level and facility of syslog(2),
// less than 256 for all that exist. Later ones have flags and level in that
// byte, and nearly every record has LOG_NEWLINE or a level that is not 0.
func (r *recordRing) withoutFlags() bool {
	w := r.window()
	const sample = 16
	at := r.first
	for range sample {
		if at == r.next {
			break
		}
		h, err := r.header(w, at)
		if err != nil {
			return false
		}
		if h.len == 0 {
			at = 0
			continue
		}
		if h.raw[r.lay.dictLen+3] != 0 {
			return false
		}
		at += h.len
	}
	return at != r.first
}

func (r *recordRing) window() *window { return &window{source: r.source, base: r.addr, size: r.size} }

// header reads the header at an offset and checks it. One of zeros has length 0
// and says that the next record is at the start of the ring.
func (r *recordRing) header(w *window, at uint64) (header, error) {
	raw, err := w.bytes(at, r.lay.size)
	if err != nil {
		return header{}, err
	}
	h := header{
		len:  uint64(r.order.Uint16(raw[r.lay.len:])),
		text: uint64(r.order.Uint16(raw[r.lay.textLen:])),
		dict: uint64(r.order.Uint16(raw[r.lay.dictLen:])),
		raw:  raw,
	}
	if h.len == 0 {
		return h, nil
	}
	used := uint64(r.lay.size) + h.text + h.dict
	if h.len < used || h.len-used >= 2*recordAlign || h.len%recordAlign != 0 || h.len > r.size-at {
		return h, damaged("a record at offset %#x of %d bytes, with %d bytes of text and %d of dictionary", at, h.len, h.text, h.dict)
	}
	return h, nil
}

// walk goes from the oldest record to the newest.
func (r *recordRing) walk(yield func(Record, error) bool) {
	w := recordWalk{recordRing: r, window: r.window(), parts: parts{yield: yield}}
	if r.first < r.next {
		w.stretch(r.first, r.next)
		return
	}
	if r.first > r.next {
		w.stretch(r.first, r.size)
		if !w.stopped {
			w.stretch(0, r.next)
		}
	}
}

// recordWalk is the state of one walk.
type recordWalk struct {
	parts
	*recordRing
	window *window
	seq    uint64
	prev   Flags // of the record before
}

// stretch walks the records between two offsets. Where one is damaged or cannot
// be read, it goes on where records follow each other again.
func (w *recordWalk) stretch(at, end uint64) {
	for at < end && !w.stopped {
		h, err := w.header(w.window, at)
		if err == nil && h.len == 0 {
			if w.ends(at, end, h) {
				return // the rest is at the start of the ring
			}
			err = damaged("a record at offset %#x of 0 bytes", at)
		}
		if err == nil && h.len > end-at {
			err = damaged("the record at offset %#x reaches past the newest", at)
		}
		if err != nil {
			next := w.resync(at+recordAlign, end)
			w.lost(&LostError{Bytes: next - at, Addr: w.addr + at, Err: err})
			at, w.prev = next, FlagNewline
			continue
		}
		if rec, err := w.read(at, h); err != nil {
			w.lost(&LostError{Records: 1, Addr: w.addr + at, Err: err})
			w.prev = FlagNewline
		} else {
			w.record(rec)
		}
		at += h.len
	}
}

// resync finds the offset behind a damaged place from where records are sound,
// or the end.
func (w *recordWalk) resync(at, end uint64) uint64 {
	for at < end {
		if w.sound(at, end) {
			return at
		}
		if _, err := w.window.bytes(at, 1); err != nil {
			at = w.window.nextPage(at)
			at += -at % recordAlign
			continue
		}
		at += recordAlign
	}
	return end
}

// sound tells whether some records in sequence make sense from an offset on.
// Text does not look like a header: two letters are a length that no record has.
func (w *recordWalk) sound(at, end uint64) bool {
	const enough = 3
	for n := range enough {
		h, err := w.header(w.window, at)
		if err == nil && h.len == 0 {
			return n > 0 && w.ends(at, end, h)
		}
		if err != nil || h.len > longestRecord {
			return false
		}
		if at += h.len; at >= end {
			return at == end
		}
	}
	return true
}

// ends tells whether a header of zeros can be the one that leads to the start of
// the ring: that is so where the next record had no room before the end.
func (w *recordWalk) ends(at, end uint64, h header) bool {
	return end == w.size && end-at <= longestRecord && len(bytes.Trim(h.raw, "\x00")) == 0
}

// read reads the record of a header.
func (w *recordWalk) read(at uint64, h header) (Record, error) {
	l := &w.lay
	rec := Record{Seq: w.seq, Time: sinceBoot(w.order.Uint64(h.raw[l.ts:])), Timed: true}
	if w.old {
		n := w.order.Uint16(h.raw[l.dictLen+2:])
		rec.Level, rec.Facility, rec.Flags = Level(n&7), Facility(n>>3), FlagNewline
	} else {
		rec.Facility = Facility(h.raw[l.dictLen+2])
		rec.Flags, rec.Level = w.splitFlags(h.raw[l.dictLen+3])
	}
	if l.caller >= 0 {
		rec.Caller = callerOf(w.order.Uint32(h.raw[l.caller:]))
	}
	// A record may have up to 64 KiB by its header, as much as a window.
	body := make([]byte, h.text+h.dict)
	if _, err := w.mem.Read(body, w.addr+at+uint64(l.size)); err != nil {
		return rec, err
	}
	rec.Text = body[:h.text:h.text]
	rec.Dict = parseDict(body[h.text:])
	// A piece of a line goes on from the piece before it, unless that ended
	// the line or this one begins a new one (print_prefix up to 4.8).
	rec.Continues = rec.Flags&FlagCont != 0 && rec.Flags&FlagPrefix == 0 &&
		w.prev&FlagCont != 0 && w.prev&FlagNewline == 0
	w.prev = rec.Flags
	w.seq++
	return rec, nil
}

// parseDict takes a dictionary apart: KEY=value, separated by NULs.
func parseDict(dict []byte) []Pair {
	var pairs []Pair
	for entry := range bytes.SplitSeq(dict, []byte{0}) {
		if len(entry) == 0 {
			continue
		}
		key, val, _ := bytes.Cut(entry, []byte{'='})
		pairs = append(pairs, Pair{string(key), val})
	}
	return pairs
}
