package dump

import (
	"debug/elf"
	"fmt"
	"math"
)

// elfReader opens an ELF core file of physical memory: /proc/vmcore or a copy
// of it, makedumpfile -E, or QEMU's dump-guest-memory.
//
// Where PT_LOAD segments overlap, the first one in the program headers that
// has file bytes for an address is read. Memory of a segment that has no bytes
// in the file (p_filesz < p_memsz) counts as excluded, not as zeros: that is
// how makedumpfile -E writes the pages that it filtered out.
type elfReader struct{ *spanImage }

func openELF(s store, opt *options) (Image, error) {
	h, err := readELFHeader(s)
	if err != nil {
		return nil, err
	}
	e := elfReader{newSpanImage(s, Facts{
		Files:     []string{s.name()},
		Format:    FormatELF,
		Variant:   storeVariant(s),
		Arch:      elfArch(h.machine),
		ByteOrder: h.order,
		Is64:      h.is64,
		DumpLevel: -1,
	})}
	if err := e.readSegments(h); err != nil {
		return nil, err
	}
	if e.facts.xen {
		return nil, &FileError{File: s.name(), Offset: -1, Kind: ErrUnsupported,
			What: "a dump of a Xen hypervisor; extract the domain's memory with makedumpfile -X first"}
	}
	e.finish(opt)
	return e.spanImage, nil
}

// readSegments takes notes and memory from the program headers.
func (e elfReader) readSegments(h *elfHeader) error {
	claims := &spanClaims{fileSize: uint64(e.file.size())}
	loads, noteSz := 0, int64(0)
	firstByte := int64(math.MaxInt64) // of memory in the file
	err := h.segments(e.file, func(p segment) {
		switch p.kind {
		case elf.PT_NOTE:
			noteSz += e.readNotes(p, noteSz)
		case elf.PT_LOAD:
			loads++
			if p.filesz > 0 {
				firstByte = min(firstByte, max(0, clampOff(p.off)))
			}
			if p.paddr != ^uint64(0) { // /proc/kcore: the kernel does not know an address
				claims.add(p.paddr, p.off, p.filesz, p.memsz)
			}
		}
	})
	if err != nil {
		return err
	}
	if loads == 0 {
		return damaged(e.file, h.phoff, "the core file has no PT_LOAD segment, so no memory")
	}
	pagesFrom(e.file, firstByte)
	if how := flatCut(e.file); how != "" {
		e.facts.Incomplete = true
		e.facts.warn("%s", how)
	}
	e.facts.tellGaps(e.file, firstByte, math.MaxInt64)
	if cut := e.setSpans(claims); cut > 0 {
		e.facts.Incomplete = true
		e.facts.warn("the file is cut short: %d of its %d segments reach past its end (%d bytes)", cut, loads, e.file.size())
	}
	if len(e.spans) == 0 {
		return damaged(e.file, h.phoff, fmt.Sprintf("none of the %d segments describes any memory", loads))
	}
	return nil
}

// readNotes reads a PT_NOTE segment and returns how many bytes it took, before
// being those taken already.
func (e elfReader) readNotes(p segment, before int64) int64 {
	off, n := clampOff(p.off), int64(min(p.filesz, 1<<62))
	if !inStore(off, n, e.file.size()) {
		e.facts.Incomplete = true
		e.facts.warn("the file is cut short: its notes at offset %#x reach past its end", p.off)
		n = max(0, min(n, e.file.size()-off))
		if off < 0 || n == 0 {
			return 0
		}
	}
	if n > min(e.file.heap(), maxNoteBytes)-before {
		e.facts.warn("the note segments at offset %#x claim more bytes than notes can have; they are ignored", p.off)
		return 0
	}
	data, err := e.file.view(off, int(n), nil)
	if err != nil {
		e.facts.warn("the notes cannot be read: %v", err)
		return 0
	}
	e.facts.takeNotes(data)
	return n
}
