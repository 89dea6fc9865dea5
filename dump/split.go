package dump

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// joinParts puts the files of a split dump in order (makedumpfile --split:
// each part has both bitmaps whole, and the pages from start_pfn to end_pfn)
// and refuses files that do not belong together.
func joinParts(parts []*kdumpPart) ([]*kdumpPart, error) {
	first := parts[0]
	for _, p := range parts[1:] {
		if diff := differ(first, p); diff != "" {
			return nil, &FileError{File: p.file.name(), Offset: -1, Kind: ErrDamaged,
				What: fmt.Sprintf("not a part of the same dump as %s: %s", first.file.name(), diff)}
		}
	}
	slices.SortStableFunc(parts, func(a, b *kdumpPart) int { return cmp.Compare(a.start, b.start) })
	for i, p := range parts[1:] {
		if before := parts[i]; p.start < before.end {
			return nil, &FileError{File: p.file.name(), Offset: -1, Kind: ErrDamaged,
				What: fmt.Sprintf("it holds pages that %s holds too; give each part of a split dump once", before.file.name())}
		}
	}
	return parts, nil
}

// differ says in what the headers of two files differ that parts of one dump
// have in common; it is empty if there is nothing.
func differ(a, b *kdumpPart) string {
	x, y := a.header, b.header
	switch {
	case !x.split || !y.split:
		whole := a
		if x.split {
			whole = b
		}
		return whole.file.name() + " is a whole dump; give one dump only"
	case x.order != y.order || x.is64 != y.is64 || x.blockSize != y.blockSize:
		return "it is of another kind of machine"
	case x.maxMapNr != y.maxMapNr:
		return "the machine had another size of memory"
	case x.uts != y.uts:
		return fmt.Sprintf("%s %s against %s %s", y.uts.Nodename, y.uts.Release, x.uts.Nodename, x.uts.Release)
	case !x.time.Equal(y.time):
		return fmt.Sprintf("taken at %v, the other at %v", y.time, x.time)
	case x.dumpLevel != y.dumpLevel:
		return fmt.Sprintf("written with -d %d, the other with -d %d", y.dumpLevel, x.dumpLevel)
	}
	var scratch Facts
	v, w := a.blob(x.vmcoreinfo, &scratch, ""), b.blob(y.vmcoreinfo, &scratch, "")
	if v != nil && w != nil && string(v) != string(w) {
		return "their VMCOREINFO differs"
	}
	return ""
}

// splitFacts says which pages no part has.
func (k *kdumpImage) splitFacts() {
	f := &k.facts
	if !k.parts[0].header.split {
		return
	}
	whole := true
	at := uint64(0)
	missing := func(to uint64) {
		if at < to {
			whole = false
			f.Incomplete = true
			f.warn("the part of the split dump with the pages of physical memory from %#x to %#x was not given", at<<k.pageShift, to<<k.pageShift)
		}
	}
	for _, p := range k.parts {
		missing(p.start)
		at = p.end
	}
	missing(k.parts[0].header.maxMapNr)
	if whole {
		f.Variant = append(f.Variant, fmt.Sprintf("split in %d parts", len(k.parts)))
	} else {
		f.Variant = append(f.Variant, "some parts of a split dump")
	}
}

// maxSiblings bounds the search for the other parts of a split dump.
const maxSiblings = 1024

var digits = regexp.MustCompile(`[0-9]+`)

// findSiblings looks for the other parts of a split dump of which one file was
// given: files in its directory whose names differ from its own in one number
// only, and whose headers belong to the same dump. It returns them opened.
func findSiblings(own store, noMap bool) []store {
	h, err := readKdumpHeader(own)
	if err != nil || !h.split {
		return nil
	}
	dir, base := filepath.Split(own.name())
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil
	}
	self := &kdumpPart{file: own, header: h}
	var found []store
	for _, entry := range entries {
		if len(found) >= maxSiblings || !entry.Type().IsRegular() || !differInOneNumber(base, entry.Name()) {
			continue
		}
		s, err := openDump(filepath.Join(dir, entry.Name()), noMap)
		if err != nil {
			continue
		}
		if other, err := readKdumpHeader(s); err != nil || differ(self, &kdumpPart{file: s, header: other}) != "" {
			s.close()
			continue
		}
		found = append(found, s)
	}
	return dropOverlapping(self, found)
}

// dropOverlapping gives up on siblings that hold the same pages twice: then
// the directory holds several splits of one dump, and nobody can tell which
// file belongs to which.
func dropOverlapping(self *kdumpPart, found []store) []store {
	parts := []*kdumpPart{self}
	for _, s := range found {
		h, err := readKdumpHeader(s)
		if err != nil {
			continue
		}
		parts = append(parts, &kdumpPart{file: s, header: h, start: h.startPFN, end: h.endPFN})
	}
	self.start, self.end = self.header.startPFN, self.header.endPFN
	if _, err := joinParts(parts); err == nil {
		return found
	}
	for _, s := range found {
		_ = s.close() // opened for reading only
	}
	return nil
}

// differInOneNumber tells whether two names are equal but for one run of
// digits: vmcore-1 and vmcore-2, dump.part09.kdump and dump.part10.kdump.
func differInOneNumber(a, b string) bool {
	if a == b {
		return false
	}
	for _, at := range digits.FindAllStringIndex(a, -1) {
		head, tail := a[:at[0]], a[at[1]:]
		if len(b) > len(head)+len(tail) && b[:len(head)] == head && b[len(b)-len(tail):] == tail {
			middle := b[len(head) : len(b)-len(tail)]
			if digits.FindString(middle) == middle {
				return true
			}
		}
	}
	return false
}

// closeAll closes files that were opened in vain.
func closeAll(stores []store) error {
	var errs []error
	for _, s := range stores {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
