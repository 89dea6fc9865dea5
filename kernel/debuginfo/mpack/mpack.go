// Package mpack is the container of pack files (.mpack): named sections, each
// compressed with zstd, and a directory at the end. What the sections mean is
// told by package debuginfo, which writes and reads them.
//
//	 0  "MPACK", 0, the version, newline
//	 8  offset of the directory
//	16  its length
//	24  its CRC-32C, and 4 bytes of 0
//	32  the sections
//	..  the directory, in JSON
//
// All numbers are little-endian.
package mpack

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	magic      = "MPACK\x00\x01\n"
	magicStart = "MPACK\x00"
	headerSize = 32
)

// ErrNotPack is wrapped by the errors for files of another kind.
var ErrNotPack = errors.New("not a pack file")

// errDamaged is wrapped by the errors for pack files that are damaged.
var errDamaged = errors.New("damaged pack file")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// entry is a section in the directory.
type entry struct {
	Name   string `json:"name"`
	Offset uint64 `json:"offset"`
	Stored uint64 `json:"stored"` // bytes in the file
	Size   uint64 `json:"size"`   // bytes unpacked
	CRC    uint32 `json:"crc"`    // CRC-32C of the unpacked bytes
	Zstd   bool   `json:"zstd,omitempty"`
}

// Writer writes a pack file.
type Writer struct {
	w       io.WriteSeeker
	at      uint64
	entries []entry
	enc     *zstd.Encoder
}

// NewWriter begins a pack file at the start of w. Errors are those of w.
func NewWriter(w io.WriteSeeker) (*Writer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	p := &Writer{w: w, enc: enc}
	return p, p.write(make([]byte, headerSize))
}

func (p *Writer) write(data []byte) error {
	n, err := p.w.Write(data)
	p.at += uint64(n)
	return err
}

// Add writes a section; an empty one is left out. Sections that are read in
// parts, and pack those themselves, are stored plainly. Errors are those of
// writing.
func (p *Writer) Add(name string, data []byte, plain bool) error {
	if len(data) == 0 {
		return nil
	}
	e := entry{Name: name, Offset: p.at, Size: uint64(len(data)), CRC: crc32.Checksum(data, castagnoli)}
	if !plain {
		e.Zstd = true
		data = p.enc.EncodeAll(data, nil)
	}
	e.Stored = uint64(len(data))
	p.entries = append(p.entries, e)
	return p.write(data)
}

// Close writes the directory and then the header, which makes the file valid.
// Errors are those of writing.
func (p *Writer) Close() error {
	directory, err := json.Marshal(p.entries)
	if err != nil {
		return err
	}
	header := make([]byte, headerSize)
	copy(header, magic)
	binary.LittleEndian.PutUint64(header[8:], p.at)
	binary.LittleEndian.PutUint64(header[16:], uint64(len(directory)))
	binary.LittleEndian.PutUint32(header[24:], crc32.Checksum(directory, castagnoli))
	if err := p.write(directory); err != nil {
		return err
	}
	if _, err := p.w.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = p.w.Write(header)
	return err
}

// Reader reads the sections of a pack file that is in memory. Its methods are
// safe for use by many goroutines.
type Reader struct {
	data    []byte
	entries map[string]entry
	order   []string
}

// Is tells from the first bytes whether a file is a pack file.
func Is(start []byte) bool { return len(start) >= 6 && string(start[:6]) == magicStart }

// NewReader reads the directory. The error is ErrNotPack for another kind of
// file, and else says that the pack is damaged or of another version.
func NewReader(data []byte) (*Reader, error) {
	if !Is(data) {
		return nil, ErrNotPack
	}
	if len(data) < headerSize || string(data[:8]) != magic {
		return nil, fmt.Errorf("pack file of a version that this program does not know: make it again")
	}
	le := binary.LittleEndian
	offset, size := le.Uint64(data[8:]), le.Uint64(data[16:])
	if offset < headerSize || offset > uint64(len(data)) || size > uint64(len(data))-offset {
		return nil, fmt.Errorf("%w: the directory at %#x, %d bytes, goes beyond the end (%d bytes): is the file cut short?", errDamaged, offset, size, len(data))
	}
	directory := data[offset : offset+size]
	if crc32.Checksum(directory, castagnoli) != le.Uint32(data[24:]) {
		return nil, fmt.Errorf("%w: the directory at %#x has a wrong checksum", errDamaged, offset)
	}
	var list []entry
	if err := json.Unmarshal(directory, &list); err != nil {
		return nil, fmt.Errorf("%w: directory: %w", errDamaged, err)
	}
	r := &Reader{data: data, entries: map[string]entry{}}
	for _, e := range list {
		if e.Offset > uint64(len(data)) || e.Stored > uint64(len(data))-e.Offset || !e.Zstd && e.Stored != e.Size {
			return nil, fmt.Errorf("%w: section %s at %#x, %d bytes, goes beyond the end (%d bytes)", errDamaged, e.Name, e.Offset, e.Stored, len(data))
		}
		r.entries[e.Name] = e
		r.order = append(r.order, e.Name)
	}
	return r, nil
}

// Names are the names of the sections, in the order in which they were written.
func (r *Reader) Names() []string { return r.order }

// The bound on what a section may unpack to: they shrink to a third or a tenth.
const (
	maxRatio    = 64
	alwaysAllow = 1 << 20
)

// Section unpacks a section and checks it; nil for one that is not there. It
// fails where the section is damaged.
func (r *Reader) Section(name string) ([]byte, error) {
	e, ok := r.entries[name]
	if !ok {
		return nil, nil
	}
	data := r.data[e.Offset : e.Offset+e.Stored : e.Offset+e.Stored]
	if e.Zstd {
		if e.Size > alwaysAllow && e.Size > maxRatio*e.Stored {
			return nil, fmt.Errorf("%w: section %s claims to unpack from %d to %d bytes", errDamaged, name, e.Stored, e.Size)
		}
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(max(e.Size, 1<<20)), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, err
		}
		defer dec.Close()
		if data, err = dec.DecodeAll(data, make([]byte, 0, e.Size)); err != nil {
			return nil, fmt.Errorf("%w: section %s at %#x: %w", errDamaged, name, e.Offset, err)
		}
	}
	if uint64(len(data)) != e.Size || crc32.Checksum(data, castagnoli) != e.CRC {
		return nil, fmt.Errorf("%w: section %s at %#x has a wrong checksum or length", errDamaged, name, e.Offset)
	}
	return data, nil
}
