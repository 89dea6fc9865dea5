package dump

import (
	"os"
	"sort"
)

// maxAreas bounds the map of a sparse file, which takes two system calls for each
// stretch between two holes.
const maxAreas = 1 << 16

// sparseFile is the file behind a store if it has holes, nil otherwise.
func sparseFile(s store) *os.File {
	switch s := s.(type) {
	case *mappedStore:
		return s.sparse
	case *readerStore:
		if f, ok := s.ReaderAt.(*os.File); ok && hasHoles(f) {
			return f
		}
	}
	return nil
}

// withoutHoles is the image without the pages that lie in holes of the file, for
// somebody who has no use for zeros: memory of 100 GB of which a few were written
// is gone through as fast as those few. It shares the files of the image, and is not
// to be closed.
func (e *spanImage) withoutHoles() *spanImage {
	f := sparseFile(e.file)
	if f == nil {
		return e
	}
	areas, ok := writtenAreas(f, e.file.size())
	if !ok {
		return e
	}
	c := *e
	if c.spans, ok = writtenSpans(e.spans, areas, e.facts.PageSize); !ok {
		return e
	}
	c.starts = make([]uint64, len(c.spans))
	for i, sp := range c.spans {
		c.starts[i] = sp.start
	}
	return &c
}

// writtenSpans are the parts of spans that lie in the areas of the file. It gives up
// where that are more than a file with so many areas and spans has, unless its
// spans show the same bytes over and over.
func writtenSpans(spans []span, areas []fileRange, pageSize uint64) (list []span, ok bool) {
	for _, sp := range spans {
		if sp.kind == spanData {
			list = sp.within(areas, pageSize, list)
		}
		if len(list) > len(spans)+2*len(areas) {
			return nil, false
		}
	}
	return list, true
}

// within appends to list the whole pages of a span that have bytes in one of the
// areas of the file.
func (sp span) within(areas []fileRange, pageSize uint64, list []span) []span {
	last := sp.off + (sp.end - sp.start)
	at := sp.start
	i := sort.Search(len(areas), func(i int) bool { return areas[i].off+areas[i].size > sp.off })
	for ; i < len(areas) && areas[i].off < last; i++ {
		from := sp.start + max(areas[i].off, sp.off) - sp.off
		to := sp.start + min(areas[i].off+areas[i].size, last) - sp.off
		from = max(at, from-from%pageSize)
		if rest := to % pageSize; rest != 0 {
			to += min(pageSize-rest, sp.end-to)
		}
		if from < to {
			list = append(list, span{from, to, sp.off + (from - sp.start), spanData})
			at = to
		}
	}
	return list
}
