package dumpwriter

import (
	"bytes"
	"errors"
	"io"
)

// Kdump writes a kdump-compressed file (makedumpfile's IMPLEMENTATION file and
// diskdump_mod.h): header, sub-header, VMCOREINFO, notes, both bitmaps, page
// descriptors, page data. Pages of zeros share one copy. Errors are those of w
// and of mem.
func Kdump(w io.WriterAt, mem Memory, cfg Config) error {
	return Split([]io.WriterAt{w}, mem, cfg)
}

// Split writes a dump in as many parts as there are writers, as makedumpfile
// --split does: each part has the headers, both bitmaps, room for the
// descriptors of all pages, and the data of an equal share of the present ones. It
// fails for a header version below 2, and with the errors of ws and of mem.
func Split(ws []io.WriterAt, mem Memory, cfg Config) error {
	c := cfg.withDefaults()
	if len(ws) > 1 && c.Version < 2 {
		return errors.New("dumpwriter: a split dump needs header version 2")
	}
	top := mem.Pages()
	for i, bounds := range shares(mem, top, len(ws)) {
		part := &kdumpPart{Config: c, w: ws[i], mem: mem, top: top, split: len(ws) > 1, start: bounds[0], end: bounds[1]}
		if err := part.write(); err != nil {
			return err
		}
	}
	return nil
}

// shares divides the PFNs so that each part has about as many present pages.
func shares(mem Memory, pages uint64, parts int) [][2]uint64 {
	if parts == 1 {
		return [][2]uint64{{0, pages}}
	}
	total := uint64(0)
	for pfn := range pages {
		if mem.State(pfn) == Present {
			total++
		}
	}
	var out [][2]uint64
	start, count := uint64(0), uint64(0)
	for pfn := range pages {
		if mem.State(pfn) == Present {
			count++
		}
		if done := uint64(len(out) + 1); done < uint64(parts) && count >= total*done/uint64(parts) {
			out = append(out, [2]uint64{start, pfn + 1})
			start = pfn + 1
		}
	}
	for len(out) < parts {
		out = append(out, [2]uint64{start, pages})
		start = pages
	}
	return out
}

// kdumpPart writes one file.
type kdumpPart struct {
	Config
	w          io.WriterAt
	mem        Memory
	top        uint64 // one past the last PFN of the machine
	split      bool
	start, end uint64 // PFNs

	subBlocks int64 // of the sub-header with what follows it
	mapBlocks int64 // of both bitmaps
	used      uint32
	infoAt    int64
	notesAt   int64
	eraseAt   int64
	notes     []byte
}

func (p *kdumpPart) write() error {
	block := int64(p.PageSize)
	p.notes = p.noteBytes()
	sub := len(p.subHeader())
	p.infoAt = block + int64(sub)
	p.notesAt = p.infoAt + int64(len(p.VMCoreInfo))
	p.subBlocks = (int64(sub+len(p.VMCoreInfo)+len(p.notes)) + block - 1) / block
	half := roundUp(int64(p.top+7)/8, block)
	p.mapBlocks = 2 * half / block

	maps := (1 + p.subBlocks) * block
	present, err := p.bitmaps(maps, half)
	if err != nil {
		return err
	}
	if err := p.pages(maps+2*half, present); err != nil {
		return err
	}
	f := &file{w: p.w}
	f.put(p.eraseAt, p.EraseInfo)
	f.put(0, p.mainHeader())
	f.put(block, p.subHeader())
	if p.Version >= 3 {
		f.put(p.infoAt, []byte(p.VMCoreInfo))
	}
	if p.Version >= 4 {
		f.put(p.notesAt, p.notes)
	}
	return f.err
}

// bitmaps writes both bitmaps and returns how many pages all parts have.
func (p *kdumpPart) bitmaps(at, half int64) (present uint64, err error) {
	known, dumped := newCursor(p.w, at), newCursor(p.w, at+half)
	a, b := make([]byte, p.PageSize), make([]byte, p.PageSize)
	pfn := uint64(0)
	for range half / int64(p.PageSize) {
		clear(a)
		clear(b)
		for i := uint64(0); i < uint64(len(a))*8 && pfn < p.top; i, pfn = i+1, pfn+1 {
			switch p.mem.State(pfn) {
			case Present:
				b[i/8] |= 1 << (i % 8)
				present++
				fallthrough
			case Excluded:
				a[i/8] |= 1 << (i % 8)
			}
		}
		known.write(a)
		dumped.write(b)
	}
	return present, errors.Join(known.flush(), dumped.flush())
}

// pages writes descriptors and data side by side.
func (p *kdumpPart) pages(at int64, present uint64) error {
	desc, data := newCursor(p.w, at), newCursor(p.w, at+int64(present)*24)
	page := make([]byte, p.PageSize)
	var pack packer
	var zero []byte
	for pfn := p.start; pfn < p.end; pfn++ {
		if p.mem.State(pfn) != Present {
			continue
		}
		if err := p.mem.Read(pfn, page); err != nil {
			return err
		}
		isZero := len(bytes.TrimLeft(page, "\x00")) == 0
		if isZero && zero != nil {
			desc.write(zero)
			continue
		}
		packed, flag := pack.page(p.Codec(pfn), page)
		p.used |= flag
		s := p.structure()
		s.u64(uint64(data.at))
		s.u32(uint32(len(packed)))
		s.u32(flag)
		s.u64(0)
		if isZero {
			zero = s.data
		}
		desc.write(s.data)
		data.write(packed)
	}
	p.eraseAt = data.at
	return errors.Join(desc.flush(), data.flush())
}

// mainHeader is struct disk_dump_header.
func (p *kdumpPart) mainHeader() []byte {
	s := p.structure()
	s.data = append(s.data, "KDUMP   "...)
	s.u32(uint32(p.Version))
	for _, v := range []string{p.Uts.Sysname, p.Uts.Nodename, p.Uts.Release, p.Uts.Version, p.Uts.Machine, p.Uts.Domainname} {
		s.text(v, 65)
	}
	s.pad(p.Bits / 8)
	if p.Time.IsZero() {
		s.long(0)
		s.long(0)
	} else {
		s.long(uint64(p.Time.Unix()))
		s.long(uint64(p.Time.Nanosecond() / 1000))
	}
	status := p.used
	if p.Incomplete {
		status |= 8
	}
	s.u32(status)
	s.u32(uint32(p.PageSize))
	s.u32(uint32(p.subBlocks))
	s.u32(uint32(p.mapBlocks))
	s.u32(uint32(min(p.top, 1<<32-1)))
	s.u32(0) // total_ram_blocks
	s.u32(0) // device_blocks
	s.u32(0) // written_blocks
	s.u32(0) // current_cpu
	s.u32(1) // nr_cpus
	return s.data
}

// subHeader is struct kdump_sub_header, as long as the version makes it.
func (p *kdumpPart) subHeader() []byte {
	s := p.structure()
	s.long(uint64(p.PhysBase))
	if p.Version >= 1 {
		s.u32(uint32(p.DumpLevel))
	}
	if p.Version >= 2 {
		split := uint32(0)
		if p.split {
			split = 1
		}
		s.u32(split)
		s.long(p.start)
		s.long(p.end)
	}
	if p.Version >= 3 {
		p.place(s, p.infoAt, len(p.VMCoreInfo))
	}
	if p.Version >= 4 {
		p.place(s, p.notesAt, len(p.notes))
	}
	if p.Version >= 5 {
		p.place(s, p.eraseAt, len(p.EraseInfo))
	}
	if p.Version >= 6 {
		s.u64(p.start)
		s.u64(p.end)
		s.u64(p.top)
	}
	return s.data
}

// place writes where something is in the file; of nothing it writes zeros.
func (p *kdumpPart) place(s *structure, off int64, size int) {
	if size == 0 {
		off = 0
	}
	s.u64(uint64(off))
	s.long(uint64(size))
}
