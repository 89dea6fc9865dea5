package dump

import (
	"errors"
	"fmt"
)

// descSize is the size of struct page_desc in bytes, on every machine: the
// offset of the page in the file, its packed size, its flags, and the kernel's
// page flags, which are always 0.
const descSize = 24

// pageDesc is a page descriptor.
type pageDesc struct {
	off   uint64
	size  uint32
	flags uint32
}

func (d pageDesc) codec() Codec { return Codec(d.flags) & codecMask }

var (
	errNotWritten = errors.New("its descriptor was never written: the dump is incomplete")
	errCutShort   = errors.New("the file is cut short before it")
)

// check refuses descriptors that no writer makes.
func (d pageDesc) check(pageSize int) error {
	switch {
	case d == pageDesc{}:
		return errNotWritten
	case Codec(d.flags)&^codecMask != 0:
		return fmt.Errorf("its descriptor has unknown flags %#x: a codec newer than this program, or damage", d.flags)
	case d.size == 0:
		return errors.New("its descriptor gives it a size of 0")
	case int64(d.size) > 2*int64(pageSize):
		// No codec makes a page that does not shrink this long, and
		// makedumpfile stores such a page unpacked.
		return fmt.Errorf("its descriptor gives it a packed size of %d bytes where a page has %d", d.size, pageSize)
	}
	return nil
}

// parseDesc reads a descriptor.
func (p *kdumpPart) parseDesc(data []byte) pageDesc {
	_ = data[descSize-1]
	order := p.header.order
	return pageDesc{order.Uint64(data), order.Uint32(data[8:]), order.Uint32(data[12:])}
}

// desc returns the descriptor of the part's page with that index.
func (p *kdumpPart) desc(index uint64) (pageDesc, error) {
	if p.descs != nil {
		return p.descs.get(p, index)
	}
	data, err := p.file.view(p.descOff+int64(index*descSize), descSize, nil)
	if err != nil {
		return pageDesc{}, err
	}
	return p.parseDesc(data), nil
}

// descriptors returns n descriptors from index on as they are in the file, or
// as many as the file has.
func (p *kdumpPart) descriptors(index, n uint64, buf []byte) ([]byte, error) {
	off := p.descOff + int64(index*descSize)
	have := min(int64(n)*descSize, max(0, p.file.size()-off)/descSize*descSize)
	if have == 0 {
		return nil, nil
	}
	return p.file.view(off, int(have), buf)
}

// farBeyond tells a descriptor that is damaged from one whose page was cut off
// with the end of the file: pages are written one behind the other, so that
// even of a file that has lost nearly all of itself no page lay further than
// all pages together are long.
func (p *kdumpPart) farBeyond(d pageDesc) bool {
	longest := (p.allPresent + 1) * (p.header.blockSize + descSize)
	return clampOff(d.off) < 0 || d.off > uint64(p.descOff)+longest+p.header.eraseInfo.size+p.header.notes.size+p.header.vmcoreinfo.size
}

// descBlock is how many descriptors a file that is not mapped is asked for at
// a time.
const descBlock = 1024

// descCache keeps blocks of descriptors of a file that is not mapped.
type descCache struct{ blocks *pageCache }

// useDescCache spares files that are not mapped a read for each descriptor.
func (p *kdumpPart) useDescCache(opt *options) {
	if p.file.mapped() {
		return
	}
	blocks := p.present.total/descBlock + 1
	p.descs = &descCache{newPageCache(descBlock*descSize, opt.cache.part(8), blocks)}
}

func (c *descCache) get(p *kdumpPart, index uint64) (pageDesc, error) {
	block, at := index/descBlock, index%descBlock*descSize
	var buf [descSize]byte
	n, ok := c.blocks.read(buf[:], block, at)
	if !ok {
		page, err := c.blocks.fetch(block, func(page *cachedPage) (err error) {
			page.data, err = p.descriptors(block*descBlock, descBlock, page.mem)
			if page.data != nil {
				page.mem = page.data
			}
			return err
		})
		if err != nil {
			return pageDesc{}, err
		}
		n = page.finish(buf[:], at)
	}
	if n < descSize {
		return pageDesc{}, errCutShort
	}
	return p.parseDesc(buf[:]), nil
}
