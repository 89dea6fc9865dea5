package printk

import (
	"bytes"
	"fmt"
	"time"
)

// A byte ring, up to 3.4 (Linux kernel/printk.c): text, line by line, each one
// with its level and, where printk.time is set, its time before it:
// "<6>[    0.123456] text". log_end counts the bytes ever written.
type byteRing struct {
	source
	addr  uint64 // virtual address of the ring
	size  uint64 // its bytes
	start uint64 // offset of the oldest byte
	count uint64 // bytes to read from there
}

func openBytes(s source) (*Log, error) {
	r := &byteRing{source: s}
	k := keys{names: r.names}
	buf, size, end := k.symbol("log_buf"), k.symbol("log_buf_len"), k.symbol("log_end")
	if k.err != nil {
		return nil, k.err
	}
	var err error
	if r.addr, err = r.u64(buf); err != nil {
		return nil, fmt.Errorf("reading log_buf: %w", err)
	}
	n, err := r.u32(size)
	if err != nil {
		return nil, err
	}
	r.size = uint64(n)
	if err := r.checkSize("ring", r.size); err != nil {
		return nil, err
	}
	written, err := r.u32(end)
	if err != nil {
		return nil, err
	}
	r.place(uint64(written), r.logged())
	wrapped := func() bool { return r.count == r.size }
	return &Log{form: FormBytes, size: r.size, wrapped: wrapped, records: r.walk}, nil
}

// logged is logged_chars, the bytes written since somebody last cleared the log
// with dmesg -c, at most the size of the ring. It serves to see that a ring is
// full although log_end, of 32 bits, has begun anew; a dump may lack it.
func (r *byteRing) logged() uint64 {
	addr, ok := r.names.Symbol("logged_chars")
	if !ok {
		return 0
	}
	n, err := r.u32(addr)
	if err != nil {
		return 0
	}
	return uint64(n)
}

// place finds the oldest byte. What was cleared is still in the ring.
func (r *byteRing) place(end, logged uint64) {
	if end < r.size && logged < r.size {
		r.count = end
		return
	}
	r.start, r.count = end%r.size, r.size
}

// maxLine bounds the length of a line; the kernel's printk writes at most 1024
// bytes at a time. A longer one is cut into several.
const maxLine = 16 << 10

// walk goes through the ring line by line.
func (r *byteRing) walk(yield func(Record, error) bool) {
	w := byteWalk{byteRing: r, window: &window{source: r.source, base: r.addr, size: r.size},
		parts: parts{yield: yield}, cut: r.count == r.size}
	for w.done < r.count && !w.stopped {
		w.step()
	}
	w.end()
}

// byteWalk is the state of one walk.
type byteWalk struct {
	parts
	*byteRing
	window *window
	done   uint64 // bytes read
	line   []byte // of the line at hand
	cut    bool   // whether its beginning is lost
	goesOn bool   // whether its beginning is the record before
	seq    uint64
}

// step reads the rest of a line, or as much of it as can be had at once.
func (w *byteWalk) step() {
	at := (w.start + w.done) % w.size
	part, err := w.window.some(at)
	if err != nil {
		w.skip(at, err)
		return
	}
	part = part[:min(uint64(len(part)), w.count-w.done, uint64(maxLine-len(w.line)))]
	newline := bytes.IndexByte(part, '\n')
	if newline >= 0 {
		part = part[:newline]
		w.done++
	}
	w.done += uint64(len(part))
	w.line = append(w.line, part...)
	if newline >= 0 {
		w.end()
	} else if len(w.line) == maxLine {
		w.end()
		w.goesOn = true
	}
}

// skip passes over a page that cannot be read.
func (w *byteWalk) skip(at uint64, err error) {
	w.end()
	n := min(w.window.nextPage(at)-at, w.count-w.done)
	if !w.stopped {
		w.lost(&LostError{Bytes: n, Addr: w.addr + at, Err: err})
	}
	w.done += n
	w.cut = true
}

// end hands out the line at hand. Lines are never empty, for they have a level
// at least; what was never written is zero.
func (w *byteWalk) end() {
	line := bytes.Trim(w.line, "\x00")
	if len(line) > 0 && !w.stopped {
		w.record(w.parse(bytes.Clone(line)))
		w.seq++
	}
	w.line, w.cut, w.goesOn = w.line[:0], false, false
}

// parse takes the level and the time off a line.
func (w *byteWalk) parse(line []byte) Record {
	rec := Record{Seq: w.seq, Level: LevelUnknown, Facility: FacilityUnknown, Flags: FlagNewline, Text: line}
	if rec.Continues = w.goesOn; rec.Continues {
		return rec
	}
	n, rest, leveled := cutNumber(line, '<', '>', 1023)
	if leveled {
		rec.Level, rec.Facility, rec.Text = Level(n&7), Facility(n>>3), rest
	}
	if t, rest, ok := cutTime(rec.Text); ok && leveled {
		rec.Time, rec.Timed, rec.Text = t, true, rest
	}
	rec.Cut = w.cut && !leveled
	return rec
}

// cutNumber takes a number of at most limit between two brackets off a text.
func cutNumber(text []byte, open, closing byte, limit int) (int, []byte, bool) {
	if len(text) == 0 || text[0] != open {
		return 0, text, false
	}
	n := 0
	for i, c := range text[1:] {
		switch {
		case c == closing && i > 0:
			return n, text[i+2:], true
		case c < '0' || c > '9':
			return 0, text, false
		}
		if n = n*10 + int(c-'0'); n > limit {
			break
		}
	}
	return 0, text, false
}

// cutTime takes "[    1.234567] " off a text: seconds, padded with spaces to
// five places, and microseconds.
func cutTime(text []byte) (time.Duration, []byte, bool) {
	inner, rest, ok := bytes.Cut(text, []byte("] "))
	if !ok || len(inner) < 1+5+1+6 || inner[0] != '[' {
		return 0, text, false
	}
	sec, usec, ok := bytes.Cut(bytes.TrimLeft(inner[1:], " "), []byte{'.'})
	const longest = 10 // digits of the seconds: 300 years
	if !ok || len(usec) != 6 || len(sec) == 0 || len(sec) > longest {
		return 0, text, false
	}
	n := time.Duration(0)
	for _, c := range append(bytes.Clone(sec), usec...) {
		if c < '0' || c > '9' {
			return 0, text, false
		}
		n = n*10 + time.Duration(c-'0')
	}
	if n > (1<<63-1)/time.Microsecond {
		return 0, text, false
	}
	return n * time.Microsecond, rest, true
}
