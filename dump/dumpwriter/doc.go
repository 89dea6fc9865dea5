// Package dumpwriter writes crash dumps in the formats that package dump reads:
// ELF cores, kdump-compressed files of every header version, codec, byte order
// and word width, whole, split, and flattened. Tests and the builder of
// synthetic dumps use it; it shares no code with the reader, so that each
// checks the other.
//
// Everything is written as a stream: the memory of a machine is asked for page
// by page in ascending order, twice at most, and never held as a whole.
package dumpwriter

import (
	"encoding/binary"
	"io"
	"time"
)

// State says what the dump does with a page.
type State int

// The states of a page.
const (
	Hole     State = iota // the machine has no such memory
	Excluded              // the machine has it, and it is filtered out
	Present               // it is in the dump
)

// Memory is the physical memory of the machine to dump.
type Memory interface {
	// Pages is one past the highest page frame number (PFN).
	Pages() uint64
	// State tells what becomes of a page. It must answer the same each time.
	State(pfn uint64) State
	// Read fills page with the contents of a page that is Present.
	Read(pfn uint64, page []byte) error
}

// PageMap is a Memory of the pages that it names: nil stands for an excluded
// one, and a short page is filled up with zeros.
type PageMap map[uint64][]byte

// Pages implements Memory.
func (m PageMap) Pages() uint64 {
	top := uint64(0)
	for pfn := range m {
		top = max(top, pfn+1)
	}
	return top
}

// State implements Memory.
func (m PageMap) State(pfn uint64) State {
	page, ok := m[pfn]
	switch {
	case !ok:
		return Hole
	case page == nil:
		return Excluded
	}
	return Present
}

// Read implements Memory.
func (m PageMap) Read(pfn uint64, page []byte) error {
	clear(page[copy(page, m[pfn]):])
	return nil
}

// Codec is how pages are packed.
type Codec string

// The codecs of kdump-compressed files.
const (
	Raw    Codec = "raw"
	Zlib   Codec = "zlib"
	LZO    Codec = "lzo"
	Snappy Codec = "snappy"
	Zstd   Codec = "zstd"
)

// Utsname is what uname(2) says on the dumped machine.
type Utsname struct {
	Sysname, Nodename, Release, Version, Machine, Domainname string
}

// Note is an ELF note.
type Note struct {
	Name string
	Type uint32
	Desc []byte
}

// Config describes the machine and the file. The zero value is a little-endian
// x86_64 with pages of 4096 bytes and the newest header version.
type Config struct {
	Order    binary.ByteOrder // default little-endian
	Bits     int              // width of a long, 32 or 64; default 64
	PageSize int              // default 4096
	Uts      Utsname          // Machine decides the ELF machine; default x86_64

	VMCoreInfo string // text, written as a note and, in kdump files, apart
	Notes      []Note // further notes, before VMCOREINFO

	// For kdump-compressed files.
	Version    int       // of the header, 1 to 6; default 6, and Version0 for 0
	Time       time.Time // of the header
	PhysBase   int64
	DumpLevel  int
	Incomplete bool   // mark the dump as not written to its end
	EraseInfo  []byte // what makedumpfile's filter wrote about itself
	NoteApart  bool   // leave VMCOREINFO out of the notes, as old versions did
	// Codec says how to pack a page; nil packs none. A page that does not
	// shrink is written raw, as makedumpfile does.
	Codec func(pfn uint64) Codec

	// For ELF files.
	HeaderAt   int64  // offset of the program headers; default behind the file header
	VaddrPaddr bool   // write p_vaddr equal to p_paddr as QEMU does
	ExtendedPH bool   // write the number of segments the way of more than 65,534 of them
	MaxSegment uint64 // split segments to at most this many pages; 0: do not
	Align      int64  // of the segments' places in the file; default PageSize
}

// Version0 stands for header version 0 in Config.Version.
const Version0 = -1

// All packs every page with one codec.
func All(c Codec) func(uint64) Codec { return func(uint64) Codec { return c } }

// Mix packs pages in turn with each of the codecs.
func Mix(codecs ...Codec) func(uint64) Codec {
	return func(pfn uint64) Codec { return codecs[pfn%uint64(len(codecs))] }
}

// withDefaults fills in what the caller left open.
func (c Config) withDefaults() Config {
	if c.Order == nil {
		c.Order = binary.LittleEndian
	}
	if c.Bits == 0 {
		c.Bits = 64
	}
	if c.PageSize == 0 {
		c.PageSize = 4096
	}
	if c.Uts.Machine == "" {
		c.Uts.Machine = "x86_64"
	}
	switch c.Version {
	case 0:
		c.Version = 6
	case Version0:
		c.Version = 0
	}
	if c.Codec == nil {
		c.Codec = All(Raw)
	}
	if c.Align == 0 {
		c.Align = int64(c.PageSize)
	}
	return c
}

// Buffer is a file in memory, an io.WriterAt that grows.
type Buffer struct{ data []byte }

// WriteAt implements io.WriterAt.
func (b *Buffer) WriteAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); end > int64(len(b.data)) {
		b.data = append(b.data, make([]byte, end-int64(len(b.data)))...)
	}
	return copy(b.data[off:], p), nil
}

// Bytes is what was written, with zeros in the gaps.
func (b *Buffer) Bytes() []byte { return b.data }

var _ io.WriterAt = (*Buffer)(nil)
