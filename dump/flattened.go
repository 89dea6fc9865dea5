package dump

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

// A flattened file carries a dump through a pipe: a header of 4096 bytes, then
// records, each an offset and a length (64 bits each, big-endian) and the bytes
// that belong there; an offset of -1 ends the file (makedumpfile.h, struct
// makedumpfile_header and makedumpfile_data_header; man makedumpfile, -F).
const (
	flatSignature  = "makedumpfile"
	flatHeaderSize = 4096
	flatRecordHead = 16
	flatType       = 1
	flatVersion    = 1
	flatEnd        = -1
)

// isFlattened looks at the signature, which ends with a NUL. There are 16 bytes for it;
// what is behind it there is what was in makedumpfile's memory (seen with 1.6.8).
func isFlattened(head []byte) bool {
	return bytes.HasPrefix(head, []byte(flatSignature+"\x00"))
}

// flatStore reads the dump in a flattened file in place. Where records overlap,
// the later one counts, for writers go back to complete their headers. Gaps
// between the headers read as zeros, as in the file that makedumpfile -R makes;
// a gap among the pages is memory that got lost.
type flatStore struct {
	under   store
	runs    []flatRun // by offset, disjoint
	length  int64
	cut     string // how the file is incomplete, empty if it is not
	records int
	gapless int64 // from this offset on a gap is an error
}

// maxRuns bounds the memory of the index: writers make a run for each megabyte
// or so.
const maxRuns = 1 << 23

var errGap = errors.New("no record of the flattened file has these bytes: it is damaged")

// flatRun is a stretch of the dump that comes from records of equal size which
// follow each other in the file as in the dump. Writers flush buffers of a
// fixed size, so a run is dozens of records, and the index of a large file
// stays small.
type flatRun struct {
	start, end int64 // in the dump
	skip       int64 // bytes of the run that were cut off before start
	phys       int64 // place in the file of the first byte of the whole run
	size       int64 // bytes of each record but the last
}

// place returns where a byte of the run is, and how many follow it in the same
// record.
func (r *flatRun) place(off int64) (phys, n int64) {
	at := r.skip + off - r.start
	record, in := at/r.size, at%r.size
	return r.phys + record*(r.size+flatRecordHead) + in, min(r.size-in, r.end-off)
}

// openFlattened indexes a flattened file. It looks at every record's head, so
// it takes a time that grows with the file.
func openFlattened(under store) (*flatStore, error) {
	s := &flatStore{under: under, gapless: math.MaxInt64}
	head, err := under.view(0, 32, nil)
	if err != nil {
		return nil, damaged(under, 0, "the file ends within the header of a flattened dump")
	}
	if kind, version := int64(binary.BigEndian.Uint64(head[16:])), int64(binary.BigEndian.Uint64(head[24:])); kind != flatType || version != flatVersion {
		return nil, damaged(under, 16, fmt.Sprintf("a flattened dump of type %d and version %d, where only 1 and 1 are known", kind, version))
	}
	var runs []flatRun
	if err := s.scan(func(dest, size, phys int64) { runs = addRecord(runs, dest, size, phys) }); err != nil {
		return nil, err
	}
	if len(runs) > maxRuns {
		return nil, damaged(under, flatHeaderSize, "the flattened dump is cut into more pieces than any writer makes")
	}
	if len(runs) == 0 {
		return nil, damaged(under, flatHeaderSize, "the flattened dump is empty: it is cut short")
	}
	s.runs = settleRuns(runs)
	s.length = s.runs[len(s.runs)-1].end
	return s, nil
}

// scan reads the head of each record. A record that reaches past the end of
// the file is taken for as far as it goes.
func (s *flatStore) scan(record func(dest, size, phys int64)) error {
	total := s.under.size()
	head := make([]byte, flatRecordHead)
	for pos := int64(flatHeaderSize); ; s.records++ {
		b, err := s.under.view(pos, flatRecordHead, head)
		if err != nil {
			s.cut = fmt.Sprintf("the flattened file is cut short after %d records", s.records)
			return nil
		}
		dest, size := int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))
		if dest == flatEnd {
			return nil
		}
		pos += flatRecordHead
		if dest < 0 || size <= 0 || dest > 1<<62 || size > 1<<62 {
			return damaged(s.under, pos-flatRecordHead, fmt.Sprintf("record %d of the flattened file has offset %d and length %d", s.records, dest, size))
		}
		if size > total-pos {
			s.cut = fmt.Sprintf("the flattened file is cut short within its record %d", s.records)
			if pos < total {
				record(dest, total-pos, pos)
			}
			return nil
		}
		record(dest, size, pos)
		pos += size
	}
}

// addRecord adds a record to the run that it continues, or begins a run.
func addRecord(runs []flatRun, dest, size, phys int64) []flatRun {
	if len(runs) > maxRuns {
		return runs // it is refused at the end
	}
	if n := len(runs); n > 0 {
		r := &runs[n-1]
		count := (r.end - r.start) / r.size
		whole := (r.end-r.start)%r.size == 0
		if whole && dest == r.end && size <= r.size && phys == r.phys+count*(r.size+flatRecordHead) {
			r.end += size
			return runs
		}
	}
	return append(runs, flatRun{start: dest, end: dest + size, phys: phys, size: size})
}

// settleRuns sorts the runs and cuts from each what a later one overwrites.
func settleRuns(runs []flatRun) []flatRun {
	inOrder := slices.IsSortedFunc(runs, func(a, b flatRun) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(runs) && inOrder; i++ {
		inOrder = runs[i].start >= runs[i-1].end
	}
	if inOrder {
		return runs
	}
	pieces := make([]piece, len(runs))
	for i, r := range runs {
		pieces[i] = piece{uint64(r.start), uint64(r.end), int64(-i), i}
	}
	pieces = resolve(pieces)
	out := make([]flatRun, 0, len(pieces))
	for _, p := range pieces {
		r := runs[p.id]
		cut := int64(p.start) - r.start
		r.start, r.end, r.skip = int64(p.start), int64(p.end), r.skip+cut
		out = append(out, r)
	}
	return out
}

func (s *flatStore) name() string { return s.under.name() }
func (s *flatStore) size() int64  { return s.length }
func (s *flatStore) mapped() bool { return s.under.mapped() }
func (s *flatStore) heap() int64  { return s.under.size() }
func (s *flatStore) close() error { return s.under.close() }

// pagesFrom tells a flattened file from which offset on it may have no gaps.
func pagesFrom(s store, off int64) {
	if flat, ok := s.(*flatStore); ok {
		flat.gapless = off
	}
}

// flatGaps tells how many bytes between two offsets of a flattened file no record
// has, and where the first of them are.
func flatGaps(s store, from, to int64) (missing, first int64) {
	flat, ok := s.(*flatStore)
	if !ok {
		return 0, 0
	}
	at := from
	for _, r := range flat.runs {
		if start := min(r.start, to); start > at {
			if missing == 0 {
				first = at
			}
			missing += start - at
		}
		at = max(at, r.end)
	}
	return missing, first
}

// tellGaps warns of gaps between two offsets of a flattened file that is whole
// otherwise: a record is lost, or its place is damaged.
func (f *Facts) tellGaps(s store, from, to int64) {
	if missing, first := flatGaps(s, from, to); missing > 0 && flatCut(s) == "" {
		f.Incomplete = true
		f.warn("%d bytes of the dump, the first ones at its offset %#x, are in no record of the flattened file %s: it is damaged", missing, first, s.name())
	}
}

// flatCut tells whether and how a flattened file is incomplete.
func flatCut(s store) string {
	if flat, ok := s.(*flatStore); ok {
		return flat.cut
	}
	return ""
}

// after is the index of the first run that ends behind off.
func (s *flatStore) after(off int64) int {
	return sort.Search(len(s.runs), func(i int) bool { return s.runs[i].end > off })
}

func (s *flatStore) locate(off int64) int64 {
	i := s.after(off)
	if i == len(s.runs) || off < s.runs[i].start {
		return off
	}
	phys, _ := s.runs[i].place(off)
	return s.under.locate(phys)
}

func (s *flatStore) willNeed(off, n int64) {
	if !inStore(off, n, s.length) || n == 0 {
		return
	}
	// What is neighbours in the dump is nearly so in the file.
	from, to := s.locate(off), s.locate(off+n-1)
	if to > from && to-from < 2*n {
		s.under.willNeed(from, to-from)
	}
}

func (s *flatStore) view(off int64, n int, buf []byte) ([]byte, error) {
	if !inStore(off, int64(n), s.length) {
		return nil, errPastEnd(s, off, n)
	}
	i := s.after(off)
	if n > 0 && off >= s.runs[i].start {
		if phys, have := s.runs[i].place(off); have >= int64(n) {
			return s.under.view(phys, n, buf)
		}
	}
	if cap(buf) < n {
		if int64(n) > s.heap() {
			return nil, errGap // so many bytes cannot be without one
		}
		buf = make([]byte, n)
	}
	buf = buf[:n]
	return buf, s.gather(buf, off, i)
}

// gather fills buf from several records, beginning with run i.
func (s *flatStore) gather(buf []byte, off int64, i int) error {
	for len(buf) > 0 {
		if i == len(s.runs) || off < s.runs[i].start {
			gap := int64(len(buf))
			if i < len(s.runs) {
				gap = min(gap, s.runs[i].start-off)
			}
			if off+gap > s.gapless {
				return errGap
			}
			clear(buf[:gap])
			buf, off = buf[gap:], off+gap
			continue
		}
		phys, have := s.runs[i].place(off)
		n := min(have, int64(len(buf)))
		data, err := s.under.view(phys, int(n), buf[:n])
		if err != nil {
			return err
		}
		if &data[0] != &buf[0] {
			copy(buf, data)
		}
		buf, off = buf[n:], off+n
		if off == s.runs[i].end {
			i++
		}
	}
	return nil
}
