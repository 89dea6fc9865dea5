package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/paging"
)

// ReadError says why kernel virtual memory cannot be read. It wraps a
// *paging.Error or a *dump.ReadError, so that errors.Is finds out whether the
// address is not mapped, or its page was excluded, is missing or corrupt.
type ReadError struct {
	Addr uint64 // virtual address of the first byte that cannot be had
	Err  error
}

// Error implements error.
func (e *ReadError) Error() string {
	if _, ok := e.Err.(*paging.Error); ok {
		return e.Err.Error()
	}
	return fmt.Sprintf("virtual address %#x: %v", e.Addr, e.Err)
}

// Unwrap makes errors.Is and errors.As work for the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// Memory is the kernel's virtual memory in a dump. It needs no debug
// information. It is safe for use by many goroutines.
type Memory struct {
	image     dump.Image
	machine   machine
	space     paging.Space
	blockMask uint64 // of the unit in which the dump has memory
	pageSize  uint64 // of the kernel, in bytes
	direct    directMap
	offset    uint64 // runtime address minus link address of the kernel image
	lowest    uint64 // lowest link address that the offset applies to
	root      uint64 // physical address of the top page table
}

// directMap is the linear mapping of physical memory from phys on, [start,
// start+size) in virtual addresses. Addresses in it need no page tables.
type directMap struct {
	start, size uint64
	phys        uint64
}

// OpenMemory finds the kernel's page tables in an image by what its VMCOREINFO
// says. The error wraps ErrArch or ErrNoVMCoreInfo, or says what in VMCOREINFO
// cannot be.
func OpenMemory(image dump.Image) (*Memory, error) {
	machine, err := machineOf(image.Facts().Arch)
	if err != nil {
		return nil, err
	}
	vmci := image.Facts().VMCoreInfo
	if vmci == nil {
		return nil, fmt.Errorf("%w, so the kernel's place in memory is not known; dumps that kdump writes have it, "+
			"QEMU's have it when the guest runs with -device vmcoreinfo and its qemu_fw_cfg driver", ErrNoVMCoreInfo)
	}
	m := newMemory(image, machine)
	if err := machine.open(m, vmci); err != nil {
		return nil, err // a caller that goes on without a kernel must not read by it
	}
	return m, nil
}

// newMemory is the memory of an image before the kernel is found in it. The
// kernel's page size is that of the dump's blocks until something else is known.
func newMemory(image dump.Image, machine machine) *Memory {
	facts := image.Facts()
	m := &Memory{image: image, machine: machine, blockMask: facts.PageSize - 1, pageSize: facts.PageSize}
	if n, ok := facts.VMCoreInfo.Page(); ok {
		m.pageSize = n
	}
	return m
}

// Image is the dump that the memory is read from.
func (m *Memory) Image() dump.Image { return m.image }

// Offset is the distance that address space randomisation moved the kernel
// image by: runtime address minus link address.
func (m *Memory) Offset() uint64 { return m.offset }

// PageSize is the size of the kernel's pages in bytes (PAGE_SIZE). The dump may
// have memory in units of another size, see dump.Facts.
func (m *Memory) PageSize() uint64 { return m.pageSize }

// Runtime turns a link address into a runtime address. Per-CPU offsets and
// other absolute symbols lie below the kernel image and are not moved.
func (m *Memory) Runtime(link uint64) uint64 {
	if link < m.lowest {
		return link
	}
	return link + m.offset
}

// Translate returns the physical address of a kernel virtual one and how many
// bytes from there on are contiguous in both. The error is a *paging.Error
// where the address is not mapped, or a page table cannot be read.
func (m *Memory) Translate(virt uint64) (phys, left uint64, err error) {
	if off := virt - m.direct.start; off < m.direct.size {
		return m.direct.phys + off, m.direct.size - off, nil
	}
	return m.space.Translate(virt)
}

// Read fills buf with the memory at a kernel virtual address. It returns the
// number of bytes before the first one that cannot be had, and a *ReadError
// for that one.
func (m *Memory) Read(buf []byte, virt uint64) (int, error) {
	done := 0
	for done < len(buf) {
		at := virt + uint64(done)
		phys, left, err := m.Translate(at)
		if err != nil {
			return done, &ReadError{Addr: at, Err: err}
		}
		part := buf[done:]
		if uint64(len(part)) > left {
			part = part[:left]
		}
		n, err := m.image.ReadPhys(part, phys)
		done += n
		if err != nil {
			return done, &ReadError{Addr: virt + uint64(done), Err: err}
		}
	}
	return done, nil
}

// View returns n bytes at a kernel virtual address without copying them. They
// must lie in one page, or in one of the dump's blocks where those are smaller:
// ErrCrossesPages otherwise.
func (m *Memory) View(virt uint64, n int) ([]byte, error) {
	phys, left, err := m.Translate(virt)
	if err != nil {
		return nil, &ReadError{Addr: virt, Err: err}
	}
	if uint64(n) > left || phys&m.blockMask+uint64(n) > m.blockMask+1 {
		return nil, ErrCrossesPages
	}
	b, err := m.image.ViewPhys(phys, n)
	if err != nil {
		return nil, &ReadError{Addr: virt, Err: err}
	}
	return b, nil
}

// ErrCrossesPages: the bytes do not lie in one page.
var ErrCrossesPages = errors.New("the bytes do not lie in one page")

// Peek returns len(buf) bytes at a kernel virtual address: a view of the dump
// where they lie in one page, and otherwise buf, filled. It is the way to read
// whole objects in a loop, for it neither allocates nor copies as a rule. The
// bytes must not be written to. The error is a *ReadError.
func (m *Memory) Peek(virt uint64, buf []byte) ([]byte, error) {
	b, err := m.View(virt, len(buf))
	if err != ErrCrossesPages {
		return b, err
	}
	if _, err := m.Read(buf, virt); err != nil {
		return nil, err
	}
	return buf, nil
}

// Uint64 reads a 64-bit little-endian number at a kernel virtual address. The
// error is a *ReadError.
func (m *Memory) Uint64(virt uint64) (uint64, error) {
	var buf [8]byte
	if _, err := m.Read(buf[:], virt); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(buf[:]), nil
}

// Uint32 reads a 32-bit little-endian number at a kernel virtual address. The
// error is a *ReadError.
func (m *Memory) Uint32(virt uint64) (uint32, error) {
	var buf [4]byte
	if _, err := m.Read(buf[:], virt); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(buf[:]), nil
}

// CString reads a NUL-terminated string of at most limit bytes at a kernel
// virtual address, without the NUL. A string that is cut short by memory that
// cannot be read comes with the error.
func (m *Memory) CString(virt uint64, limit int) ([]byte, error) {
	var out []byte
	for len(out) < limit {
		at := virt + uint64(len(out))
		// Up to the end of the page, so that a string before an unreadable
		// page is not lost.
		n := min(int(m.blockMask+1-at&m.blockMask), limit-len(out), 256)
		chunk := make([]byte, n)
		got, err := m.Read(chunk, at)
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
