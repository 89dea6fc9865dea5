package dump

// checkComplete looks whether the dump was written to its end: by its own
// word, by the number of descriptors, and by the place of the last pages.
func (p *kdumpPart) checkComplete(f *Facts) {
	if p.header.status&statusPartial != 0 {
		f.Incomplete = true
		f.warn("%s: the dump says itself that it was not written to its end (the disk was full?)", p.file.name())
	}
	if cut := flatCut(p.file); cut != "" {
		f.Incomplete, p.cut = true, true
		f.warn("%s: %s", p.file.name(), cut)
	}
	n := p.present.total
	// The bitmaps fill blocks, of which makedumpfile does not write the end; and
	// behind the descriptors parts of a split dump have room for those of all.
	half, used := int64(p.header.mapBlocks*p.header.blockSize/2), int64(p.header.maxMapNr/8)
	for _, start := range []int64{p.descOff - 2*half, p.descOff - half} {
		f.tellGaps(p.file, start, start+min(used, half))
	}
	f.tellGaps(p.file, p.descOff, p.descOff+int64(n*descSize))
	if room := uint64(max(0, p.file.size()-p.descOff)) / descSize; n > room {
		f.Incomplete, p.cut = true, true
		f.warn("%s: the file is cut short within its page descriptors: %d of %d are there", p.file.name(), room, n)
		return
	}
	p.checkDataStart(f)
	if p.lastPageLost() {
		f.Incomplete, p.cut = true, true
		f.warn("%s: the file is cut short: the last of its %d pages are behind its end (%d bytes)", p.file.name(), n, p.file.size())
	}
}

// peekDescs is how many descriptors opening looks at, at each end.
const peekDescs = 512

// lastPageLost looks for the last page of a file, which lies at its end, and
// tells whether the end is there. Descriptors that are equal share the page of
// zeros, which may lie anywhere.
func (p *kdumpPart) lastPageLost() bool {
	n := min(p.present.total, peekDescs)
	data, err := p.descriptors(p.present.total-n, n, nil)
	if err != nil {
		return false
	}
	count := map[pageDesc]int{}
	for at := 0; at < len(data); at += descSize {
		count[p.parseDesc(data[at:])]++
	}
	for at := len(data) - descSize; at >= 0; at -= descSize {
		if d := p.parseDesc(data[at:]); count[d] == 1 || d.off == 0 {
			return d.off == 0 || !inStore(clampOff(d.off), int64(d.size), p.file.size())
		}
	}
	return false
}

// checkDataStart compares the place of the first page with the number of
// descriptors before it. Where they disagree, a bit of the bitmap is wrong, and
// with it the place of every page behind.
func (p *kdumpPart) checkDataStart(f *Facts) {
	data, err := p.descriptors(0, min(p.present.total, peekDescs), nil)
	if err != nil {
		return
	}
	first := ^uint64(0)
	for ; len(data) >= descSize; data = data[descSize:] {
		if d := p.parseDesc(data); d != (pageDesc{}) {
			first = min(first, d.off)
		}
	}
	// The data begin with the first page, or with the page of zeros, unpacked.
	// Parts of a split dump leave room for the descriptors of all parts.
	start := uint64(p.descOff) + p.present.total*descSize
	all := uint64(p.descOff) + p.allPresent*descSize
	if at := first; at != ^uint64(0) && at != start && at != start+p.header.blockSize &&
		at != all && at != all+p.header.blockSize {
		f.warn("%s: the bitmap has %d pages, whose descriptors end at %#x, but the first page is at %#x: headers or bitmap are damaged, and pages may be found at wrong addresses",
			p.file.name(), p.present.total, start, first)
	}
}
