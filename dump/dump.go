// Package dump answers what the bytes of a Linux memory dump say: it reads
// physical memory out of crash dump files of every format and tells the facts
// that their headers and notes carry. It knows no C type and no kernel
// structure.
package dump

import (
	"context"
	"iter"
)

// Image is one opened memory dump, whatever its format. All methods are safe
// for use by many goroutines at once, save Close.
type Image interface {
	// ReadPhys fills buf with the memory at physical address addr. Where a
	// part of it cannot be had it returns a *ReadError and the number of
	// bytes before the first such byte; those bytes of buf are valid. Memory
	// that is not in the dump is never replaced by zeros.
	ReadPhys(buf []byte, addr uint64) (int, error)

	// ViewPhys returns the n bytes at physical address addr without copying
	// them where the format allows it. The bytes must lie within one page of
	// the dump (Facts.PageSize), must not be written to, and stay valid until
	// the Image is closed. A view into a mapped file that somebody truncates
	// meanwhile faults when touched: Guard turns that into an error.
	ViewPhys(addr uint64, n int) ([]byte, error)

	// Ranges yields the ranges of physical memory whose contents the dump
	// holds, in ascending order of address, not touching each other.
	Ranges() iter.Seq[Range]

	// Sweep hands every present page to fn once, in file order within each
	// worker, decompressed in parallel by that many workers and around the
	// page cache. fn runs on several goroutines at a time; the page's bytes
	// are valid only during the call. A page that cannot be read comes with
	// its error and without bytes. An error of fn ends the sweep and is
	// returned.
	Sweep(ctx context.Context, workers int, fn func(worker int, p Page) error) error

	// Facts tells what the headers and notes of the dump say. The result is
	// shared: do not change it.
	Facts() *Facts

	// Close releases the files and mappings. No view is valid after it.
	Close() error
}

// Range is a stretch of physical memory, [Start, End) in bytes.
type Range struct {
	Start uint64
	End   uint64
}

// Size is the length of the range in bytes.
func (r Range) Size() uint64 { return r.End - r.Start }

// Page is one page as Sweep hands it out.
type Page struct {
	Addr uint64 // physical address of the first byte
	Data []byte // Facts.PageSize bytes, or fewer at the end of an ELF segment; nil where Err is set
	Err  error  // why the page could not be read: a *ReadError
}
