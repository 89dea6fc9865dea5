// Package paging translates kernel virtual addresses to physical ones by the
// page tables in a dump.
package paging

import (
	"errors"
	"fmt"
)

// Memory is the physical memory that holds the page tables; dump.Image is one.
type Memory interface {
	ReadPhys(buf []byte, addr uint64) (int, error)
	ViewPhys(addr uint64, n int) ([]byte, error)
}

// Space is a virtual address space.
type Space interface {
	// Translate returns the physical address of a virtual one, and how many
	// bytes from there on are contiguous in both. The error is an *Error.
	Translate(virt uint64) (phys, left uint64, err error)
}

// ErrNotMapped: the page tables have no page at the address.
var ErrNotMapped = errors.New("not mapped")

// ErrBadTable: a table holds an entry that cannot be, or cannot be read.
var ErrBadTable = errors.New("page table damaged or not in the dump")

// Error says why an address cannot be translated.
type Error struct {
	Virt  uint64 // the virtual address asked for
	Kind  error  // ErrNotMapped or ErrBadTable
	Level string // the table where the walk ended: "pgd", "p4d", "pud", "pmd", "pte"
	Entry uint64 // physical address of the entry in that table
	Err   error  // why that entry could not be read, where that is so
}

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("virtual address %#x: %v (%s entry at physical %#x)", e.Virt, e.Kind, e.Level, e.Entry)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is work for the kind and for the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
