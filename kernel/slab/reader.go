package slab

// ReadBy makes the decoder read a struct slab that lies in its slab (SLAB until 3.12)
// by peek and not by the kernel's memory: for a sweep that reads the pages of slabs by
// a way of its own, and would otherwise read each twice. peek is as kernel.Memory.Peek.
func (d *Decoder) ReadBy(peek func(virt uint64, buf []byte) ([]byte, error)) { d.peek = peek }

func (d *Decoder) peekAt(virt uint64, buf []byte) ([]byte, error) {
	if d.peek != nil {
		return d.peek(virt, buf)
	}
	return d.s.k.Peek(virt, buf)
}

// CacheOf is the cache of a page that is marked as a slab's, by its struct page; nil
// for none that is known. It is less work than Slab.
func (d *Decoder) CacheOf(raw []byte) *Cache {
	addr := d.s.slab.Cache.Get(raw)
	if d.last == nil || d.last.Addr != addr {
		c := d.s.byAddr[addr]
		if c == nil {
			return nil
		}
		d.last = c
	}
	return d.last
}
