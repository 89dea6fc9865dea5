package dump

// PageReader reads whole pages of an image around its page cache: for a goroutine
// that goes over some of the memory once and has no use for a page again, as Sweep is
// for all of memory. It is for one goroutine at a time, and valid as long as the image.
type PageReader struct {
	img   Image
	kdump *kdumpImage // nil where pages are not unpacked, or the cache reads ahead
	copy  bool        // the file is not mapped: pages are read into the caller's memory
	dec   decoder
}

// NewPageReader makes a reader of an image.
func NewPageReader(img Image) *PageReader {
	r := &PageReader{img: img}
	switch i := img.(type) {
	case *kdumpImage:
		r.kdump = i
		for _, p := range i.parts {
			if !p.file.mapped() {
				r.kdump, r.copy = nil, true
			}
		}
	case *spanImage:
		r.copy = !i.file.mapped()
	}
	return r
}

// Page returns the page at a physical address, a multiple of Facts.PageSize: a view
// of the dump where it holds the page as it was, and else buf, of that size, filled.
// The bytes must not be written to. Errors are those of Image.ReadPhys.
func (r *PageReader) Page(addr uint64, buf []byte) (data []byte, err error) {
	if r.kdump == nil {
		if r.copy {
			_, err := r.img.ReadPhys(buf, addr)
			return buf, err
		}
		return r.img.ViewPhys(addr, len(buf))
	}
	k := r.kdump
	err = Guard(func() error {
		pfn := addr >> k.pageShift
		p, d, err := k.locate(pfn)
		if err != nil {
			return err
		}
		data, err = p.pageOnce(&r.dec, d, buf)
		return k.pageError(pfn, p, d, err)
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}
