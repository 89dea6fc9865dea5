package printk

import (
	"errors"
	"fmt"
)

// ErrNoLog: the dump does not say where the kernel log is.
var ErrNoLog = errors.New("the kernel log cannot be found")

// The kinds of reasons why a part of the log cannot be had, beside memory that
// cannot be read.
var (
	// ErrDamaged: the log contradicts itself.
	ErrDamaged = errors.New("kernel log damaged")
	// ErrUnfinished: somebody was writing the record when the dump was taken.
	ErrUnfinished = errors.New("being written when the dump was taken")
	// ErrOverwritten: the record was giving way to a newer one when the dump
	// was taken.
	ErrOverwritten = errors.New("given up for newer records")
	// ErrNoText: the kernel had no room for the text of the record.
	ErrNoText = errors.New("without its text, for which the kernel found no room")
)

// LostError says which part of the log cannot be had, and why. errors.Is finds
// the kinds above, or those of package dump where memory cannot be read.
type LostError struct {
	// From and To are the sequence numbers of the first and the last record
	// that are lost; Numbered says whether they are known.
	From, To uint64
	Numbered bool
	Records  uint64 // how many records are lost; 0 where that is not known
	Bytes    uint64 // how many bytes of the log they take; 0 where Records is known
	Addr     uint64 // virtual address of what cannot be used
	Err      error  // why
}

// Error implements error.
func (e *LostError) Error() string {
	var what string
	switch {
	case e.Numbered && e.From == e.To:
		what = fmt.Sprintf("record %d of the kernel log", e.From)
	case e.Numbered:
		what = fmt.Sprintf("records %d to %d of the kernel log", e.From, e.To)
	case e.Records != 0:
		what = fmt.Sprintf("%d records of the kernel log", e.Records)
	default:
		what = fmt.Sprintf("%d bytes of the kernel log", e.Bytes)
	}
	return fmt.Sprintf("%s at %#x: %v", what, e.Addr, e.Err)
}

// Unwrap makes errors.Is work for the cause.
func (e *LostError) Unwrap() error { return e.Err }

// ByKernel tells whether the kernel itself had not got what is lost: a record
// that was not finished, was giving way, or never had a text. Then the dump is
// not at fault, and nothing more could be read from it.
func (e *LostError) ByKernel() bool {
	return errors.Is(e.Err, ErrUnfinished) || errors.Is(e.Err, ErrOverwritten) || errors.Is(e.Err, ErrNoText)
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}
