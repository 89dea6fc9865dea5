package dump

import (
	"errors"
	"fmt"
)

// The kinds of reasons why physical memory cannot be read. They are tested
// with errors.Is against the *ReadError that a read returns.
var (
	// ErrExcluded: the page existed, but was filtered out on purpose when
	// the dump was written (makedumpfile -d).
	ErrExcluded = errors.New("page excluded when the dump was written")
	// ErrMissing: there is no such memory in the machine, or the file that
	// should hold it is cut short or incomplete.
	ErrMissing = errors.New("memory not in the dump")
	// ErrCorrupt: the dump holds the page, but its bytes cannot be trusted:
	// it does not decompress, or not to a page.
	ErrCorrupt = errors.New("page damaged in the dump")
)

// The kinds of reasons why a file cannot be opened as a dump.
var (
	// ErrFormat: the file is no dump of a kind that this package reads.
	ErrFormat = errors.New("not a crash dump")
	// ErrDamaged: the file is a dump, but its headers contradict themselves
	// or the file so badly that nothing can be read from it.
	ErrDamaged = errors.New("crash dump damaged")
	// ErrUnsupported: the file is a dump of a kind that is known by name and
	// not read.
	ErrUnsupported = errors.New("crash dump format not supported")
)

// ReadError says why a read of physical memory failed, and where.
type ReadError struct {
	Addr   uint64 // physical address of the first byte that cannot be had, or NoAddr
	Kind   error  // ErrExcluded, ErrMissing or ErrCorrupt
	File   string // the file that should hold the bytes; empty where none does
	Offset int64  // offset in File of what could not be used; -1 where there is none
	Err    error  // the cause, where there is one more to tell
}

// NoAddr stands in ReadError.Addr where no physical address is known: Guard
// sees the address of a fault in the file only.
const NoAddr = ^uint64(0)

// Error names the physical address, the reason, and the place in the file.
func (e *ReadError) Error() string {
	s := e.Kind.Error()
	if e.Addr != NoAddr {
		s = fmt.Sprintf("physical address %#x: %s", e.Addr, s)
	}
	if e.File != "" && e.Offset >= 0 {
		s += fmt.Sprintf(" (%s, offset %#x)", e.File, e.Offset)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is work for the kind and for the cause.
func (e *ReadError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// FileError says why a file cannot be opened as a dump: in one line, what is
// wrong with which file, where, and what to do about it.
type FileError struct {
	File   string // as it was given
	Offset int64  // offset in File of what is wrong; -1 where there is no such place
	Kind   error  // ErrFormat, ErrDamaged or ErrUnsupported; nil where the system refused the file
	What   string // what is wrong and what to do, without File and Kind
	Err    error  // the system's error, or another cause
}

// Error is one line: the file, the kind, what is wrong and where.
func (e *FileError) Error() string {
	s := e.File + ": "
	if e.Kind != nil {
		s += e.Kind.Error() + ": "
	}
	s += e.What
	if e.Offset >= 0 {
		s += fmt.Sprintf(" (offset %#x)", e.Offset)
	}
	return s
}

// Unwrap makes errors.Is work for the kind and for the cause.
func (e *FileError) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
