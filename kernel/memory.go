package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel/paging"
)

// ReadError says why kernel virtual memory cannot be read. It wraps a
// *paging.Error or a *dump.ReadError, so that errors.Is finds out whether the
// address is not mapped, or its page was excluded, is missing or corrupt.
type ReadError struct {
	Addr uint64 // virtual address of the first byte that cannot be had
	Err  error
}

func (e *ReadError) Error() string {
	if _, ok := e.Err.(*paging.Error); ok {
		return e.Err.Error()
	}
	return fmt.Sprintf("virtual address %#x: %v", e.Addr, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

// Translate returns the physical address of a kernel virtual one and how many
// bytes from there on are contiguous in both.
func (k *Kernel) Translate(virt uint64) (phys, left uint64, err error) {
	if off := virt - k.direct.start; off < k.direct.size {
		return off, k.direct.size - off, nil
	}
	return k.space.Translate(virt)
}

// Read fills buf with the memory at a kernel virtual address. It returns the
// number of bytes before the first one that cannot be had, and a *ReadError
// for that one.
func (k *Kernel) Read(buf []byte, virt uint64) (int, error) {
	done := 0
	for done < len(buf) {
		at := virt + uint64(done)
		phys, left, err := k.Translate(at)
		if err != nil {
			return done, &ReadError{Addr: at, Err: err}
		}
		part := buf[done:]
		if uint64(len(part)) > left {
			part = part[:left]
		}
		n, err := k.image.ReadPhys(part, phys)
		done += n
		if err != nil {
			return done, &ReadError{Addr: virt + uint64(done), Err: err}
		}
	}
	return done, nil
}

// Peek returns len(buf) bytes at a kernel virtual address: a view of the dump
// where they lie in one page, and otherwise buf, filled. It is the way to read
// whole objects in a loop, for it neither allocates nor copies as a rule. The
// bytes must not be written to.
func (k *Kernel) Peek(virt uint64, buf []byte) ([]byte, error) {
	n := uint64(len(buf))
	phys, left, err := k.Translate(virt)
	if err != nil {
		return nil, &ReadError{Addr: virt, Err: err}
	}
	if n <= left && phys&k.pageMask+n <= k.pageMask+1 {
		b, err := k.image.ViewPhys(phys, len(buf))
		if err != nil {
			return nil, &ReadError{Addr: virt, Err: err}
		}
		return b, nil
	}
	if _, err := k.Read(buf, virt); err != nil {
		return nil, err
	}
	return buf, nil
}

// Uint64 reads a 64-bit little-endian number at a kernel virtual address.
func (k *Kernel) Uint64(virt uint64) (uint64, error) {
	var buf [8]byte
	if _, err := k.Read(buf[:], virt); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(buf[:]), nil
}

// Uint32 reads a 32-bit little-endian number at a kernel virtual address.
func (k *Kernel) Uint32(virt uint64) (uint32, error) {
	var buf [4]byte
	if _, err := k.Read(buf[:], virt); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(buf[:]), nil
}

// CString reads a NUL-terminated string of at most limit bytes at a kernel
// virtual address, without the NUL. A string that is cut short by memory that
// cannot be read comes with the error.
func (k *Kernel) CString(virt uint64, limit int) ([]byte, error) {
	var out []byte
	for len(out) < limit {
		at := virt + uint64(len(out))
		// Up to the end of the page, so that a string before an unreadable
		// page is not lost.
		n := min(int(k.pageMask+1-at&k.pageMask), limit-len(out), 256)
		chunk := make([]byte, n)
		got, err := k.Read(chunk, at)
		if i := bytes.IndexByte(chunk[:got], 0); i >= 0 {
			return append(out, chunk[:i]...), nil
		}
		out = append(out, chunk[:got]...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}
