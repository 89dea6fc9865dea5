package printk

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/kmortem/mortem/dump"
)

// memory is the kernel's virtual memory. *kernel.Memory is one.
type memory interface {
	// Read fills buf with the memory at a virtual address. It returns the
	// number of bytes before the first one that cannot be had, and an error
	// for that one.
	Read(buf []byte, virt uint64) (int, error)
}

// source is what a log is read from.
type source struct {
	mem   memory
	names names
	order binary.ByteOrder
	page  uint64 // bytes of a page, the unit in which memory cannot be read
	held  uint64 // bytes of memory in the dump; more than longestLog is not counted
}

// held adds up memory until it is more than any log needs.
func held(ranges iter.Seq[dump.Range]) uint64 {
	var n uint64
	for r := range ranges {
		if n += r.Size(); n > longestLog {
			break
		}
	}
	return n
}

// u32 and u64 read the kernel's variables.
func (s *source) u32(addr uint64) (uint32, error) {
	var buf [4]byte
	_, err := s.mem.Read(buf[:], addr)
	return s.order.Uint32(buf[:]), err
}

func (s *source) u64(addr uint64) (uint64, error) {
	var buf [8]byte
	_, err := s.mem.Read(buf[:], addr)
	return s.order.Uint64(buf[:]), err
}

// keys reads what a form of the log needs from what names it, and remembers the
// first key that is not there. Its errors call the keys as VMCOREINFO does.
type keys struct {
	names names
	err   error
}

func (k *keys) need(key string, n uint64, ok bool) uint64 {
	if !ok && k.err == nil {
		k.err = fmt.Errorf("%w: %s has no %s", ErrNoLog, k.names.whose(), key)
	}
	return n
}

func (k *keys) symbol(name string) uint64 {
	n, ok := k.names.Symbol(name)
	return k.need("SYMBOL("+name+")", n, ok)
}

// largestStruct bounds the sizes of the structures that a log consists of. The
// real ones have up to 88 bytes.
const largestStruct = 1024

func (k *keys) size(name string) int {
	n, ok := k.names.Size(name)
	if ok && (n == 0 || n > largestStruct) && k.err == nil {
		k.err = damaged("%s gives SIZE(%s)=%d", k.names.whose(), name, n)
	}
	return int(k.need("SIZE("+name+")", n, ok))
}

// offset returns OFFSET(structure.member) of a member of width bytes in a
// structure of size bytes.
func (k *keys) offset(name string, width, size int) int {
	n, ok := k.names.Offset(name)
	n = k.need("OFFSET("+name+")", n, ok)
	return k.within("OFFSET("+name+")", n, width, size)
}

func (k *keys) within(key string, off uint64, width, size int) int {
	if k.err == nil && off+uint64(width) > uint64(size) || off > largestStruct {
		if k.err == nil {
			k.err = damaged("%s gives %s=%d in a structure of %d bytes", k.names.whose(), key, off, size)
		}
		return 0
	}
	return int(off)
}

// window reads a stretch of memory through two pieces of it, so that many small
// reads cost few large ones, also when a reader looks ahead and comes back.
type window struct {
	source
	base   uint64   // virtual address of the stretch
	size   uint64   // its length
	pieces [2]piece // the one used last is the first
}

// piece is a part of a stretch that was read.
type piece struct {
	at   uint64 // its offset in the stretch
	data []byte
}

const windowSize = 64 << 10

// has tells whether n bytes at an offset of the stretch lie in the piece.
func (p *piece) has(off uint64, n int) bool {
	return off >= p.at && off-p.at <= uint64(len(p.data)) && uint64(n) <= uint64(len(p.data))-(off-p.at)
}

// bytes returns the n bytes at an offset of the stretch, n being at most
// windowSize. They are valid until the next call but one.
func (w *window) bytes(off uint64, n int) ([]byte, error) {
	if off > w.size || uint64(n) > w.size-off {
		return nil, damaged("it reaches past the end of the log")
	}
	if !w.pieces[0].has(off, n) {
		w.pieces[0], w.pieces[1] = w.pieces[1], w.pieces[0]
	}
	p := &w.pieces[0]
	if !p.has(off, n) {
		if err := w.fetch(p, off, n); err != nil {
			return nil, err
		}
	}
	return p.data[off-p.at:][:n], nil
}

// fetch fills a piece from an offset on, with n bytes at least.
func (w *window) fetch(p *piece, off uint64, n int) error {
	p.data = p.data[:cap(p.data)]
	if len(p.data) == 0 {
		p.data = make([]byte, min(windowSize, w.size))
	}
	got, err := w.mem.Read(p.data[:min(uint64(len(p.data)), w.size-off)], w.base+off)
	p.data, p.at = p.data[:got], off
	if got < n {
		return err
	}
	return nil
}

// some returns as many bytes at an offset of the stretch as can be had at once,
// at least one.
func (w *window) some(off uint64) ([]byte, error) {
	if _, err := w.bytes(off, 1); err != nil {
		return nil, err
	}
	p := &w.pieces[0]
	return p.data[off-p.at:], nil
}

// nextPage is the offset where the page behind that of an offset begins.
func (w *window) nextPage(off uint64) uint64 {
	end := (w.base + off) | (w.page - 1) + 1
	if end <= w.base {
		return w.size
	}
	return min(end-w.base, w.size)
}
