package dump

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// A LiME image has each range of memory behind a header of its own (LiME
// doc/README.md, "LiME Memory Range Header Version 1", lime.h): magic and
// version of 32 bits, the addresses of the first and of the last byte of 64
// bits, eight reserved bytes, all in the byte order of the machine. AVML writes
// the same when it does not compress.
const (
	limeMagic      = 0x4c694d45
	limeVersion    = 1
	limeHeaderSize = 32
)

// FormatLiME is the image that the LiME module and avml write (LiME
// doc/README.md, header version 1).
const FormatLiME Format = "LiME"

// limeHeader is the header of one range.
type limeHeader struct {
	magic, version uint32
	start, last    uint64 // physical addresses of the first and the last byte
	reserved       uint64
}

// limeOrder is the byte order of a LiME image, nil for a file that is none.
func limeOrder(head []byte) binary.ByteOrder {
	switch {
	case bytes.HasPrefix(head, []byte("EMiL")):
		return binary.LittleEndian
	case bytes.HasPrefix(head, []byte("LiME")):
		return binary.BigEndian
	}
	return nil
}

// readLiMEHeader reads the header at off of a LiME or AVML image.
func readLiMEHeader(s store, off int64, order binary.ByteOrder) (limeHeader, error) {
	data, err := s.view(off, limeHeaderSize, nil)
	if err != nil {
		return limeHeader{}, err
	}
	f := fields{data: data, order: order}
	return limeHeader{f.u32(0), f.u32(4), f.u64(8), f.u64(16), f.u64(24)}, nil
}

func openLiME(s store, opt *options) (Image, error) {
	order := limeOrder(headOf(s))
	img := newSpanImage(s, rawFacts(s, FormatLiME, order))
	claims := &spanClaims{fileSize: uint64(s.size())}
	ranges, err := limeRanges(s, order, claims)
	if ranges == 0 {
		return nil, damaged(s, 0, fmt.Sprintf("its first range header cannot be used: %v", err))
	}
	if err != nil {
		img.facts.Incomplete = true
		img.facts.warn("the image is damaged or cut short after its range %d: %v", ranges, err)
	}
	if img.setSpans(claims) > 0 {
		img.facts.Incomplete = true
		img.facts.warn("the image is cut short within its range %d: the file ends at %d bytes", ranges, s.size())
	}
	img.finish(opt)
	return img, nil
}

// limeRanges claims the ranges and counts them. An error says why it has
// stopped before the end of the file.
func limeRanges(s store, order binary.ByteOrder, claims *spanClaims) (int, error) {
	for n, pos := 0, int64(0); ; n++ {
		if pos == s.size() {
			return n, nil
		}
		h, err := readLiMEHeader(s, pos, order)
		switch {
		case err != nil:
			return n, fmt.Errorf("offset %#x: the file ends within a range header", pos)
		case h == limeHeader{}:
			return n, fmt.Errorf("offset %#x: zeros where a range header should be: a copy that was not finished, or the unused end of a disk", pos)
		case h.magic != limeMagic:
			return n, fmt.Errorf("offset %#x: no range header where one should be", pos)
		case h.version != limeVersion:
			return n, fmt.Errorf("offset %#x: a range header of version %d, where only 1 is known", pos, h.version)
		case h.last < h.start:
			return n, fmt.Errorf("offset %#x: a range that ends at %#x, before it begins at %#x", pos, h.last, h.start)
		}
		pos += limeHeaderSize
		size := max(h.last-h.start+1, h.last-h.start) // but for all of the address space
		claims.add(h.start, uint64(pos), size, size)
		if size > uint64(s.size()-pos) {
			return n + 1, nil
		}
		pos += int64(size)
	}
}

// rawFacts is what is known of an image whose format tells nothing about the
// machine: what it says is what nearly all machines are, until VMCOREINFO in
// its memory says more.
func rawFacts(s store, format Format, order binary.ByteOrder) Facts {
	return Facts{
		Files:     []string{s.name()},
		Format:    format,
		Variant:   storeVariant(s),
		ByteOrder: order,
		Is64:      true,
		DumpLevel: -1,
	}
}
