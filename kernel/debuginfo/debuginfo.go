// Package debuginfo is what is known about a kernel build apart from any dump
// of it: its C types, its symbols and which of them has which type. Nothing
// above it knows whether that comes from DWARF, BTF, kallsyms or an index file.
package debuginfo

import (
	"errors"

	"github.com/kmortem/mortem/kernel/ctype"
)

// Source is the debug information of one kernel (or module). Its methods are
// safe for use by many goroutines.
type Source interface {
	// BuildID is the GNU build id of the kernel image, nil if unknown.
	BuildID() []byte
	// Describe names the source for messages: a path and what kind it is.
	Describe() string
	// Type returns a type by its C name: "struct dentry", "union thread_union",
	// "enum pageflags", or a typedef or base type such as "u64" or "long
	// unsigned int". A complete definition goes before a declaration. The
	// error is ErrNotFound for a name that is not there.
	Type(name string) (*ctype.Type, error)
	// Variable returns the declared type of a global (or file-local)
	// variable. Where several files have one of that name, the one that is
	// not static, or the first.
	Variable(name string) (*ctype.Type, error)
	// Function returns the type of a function.
	Function(name string) (*ctype.Type, error)
	// Enumerator returns the value of a constant of any enum, anonymous ones
	// included, and the enum.
	Enumerator(name string) (int64, *ctype.Type, error)
	// Symbols is the symbol table, with addresses as linked (before KASLR).
	Symbols() *Symbols
	// Close releases files and mappings; types already handed out and their
	// lazy parts are not to be used after it.
	Close() error
}

// Damaged is what a Source also implements when it can be read in part.
type Damaged interface {
	// Damage is the first damage that was met so far, nil where there was none.
	// Names that are defined in damaged parts are missing.
	Damage() error
}

// DamageOf is the damage that was met in a source so far, nil where there was none.
// It is an error to be shown; names in the damaged parts are missing.
func DamageOf(s Source) error {
	if d, ok := s.(Damaged); ok {
		return d.Damage()
	}
	return nil
}

// ErrNotFound is wrapped by the errors for names that the debug information
// does not have.
var ErrNotFound = errors.New("not in the debug information")
