// Package btf reads C types from BTF, the compact form in which kernels built
// with CONFIG_DEBUG_INFO_BTF (since 5.2) carry their own types in memory, and
// modules theirs as a continuation of the kernel's (since 5.11). The format is
// described in the kernel's Documentation/bpf/btf.rst and include/uapi/linux/btf.h.
//
// BTF has all types and functions, but of global variables only those that
// are per CPU, and neither local variables nor lines.
package btf

import (
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/kmortem/mortem/kernel/ctype"
)

// ErrNoBTF: the bytes are not BTF.
var ErrNoBTF = errors.New("no BTF")

// ErrDamaged: the bytes are BTF that contradicts itself.
var ErrDamaged = errors.New("BTF damaged")

// Types are the types in one piece of BTF. The bodies of types are decoded
// when they are first asked for. Its methods are safe for use by many
// goroutines.
type Types struct {
	base    *Types // the kernel's types, for those of a module
	first   uint32 // number of the first type that is not in base
	records records
	strings stringTable
	pointer int64 // size of a pointer in bytes
	signs   bool  // enums say whether they are signed, as pahole 1.24 made them do

	names index                        // of named types, by number
	made  []atomic.Pointer[ctype.Type] // by number, less first

	constantsOnce sync.Once
	constants     constants
}

// Parse reads the BTF of a kernel, little-endian, which is kept and must not be
// changed. It makes an index of names and leaves the rest for later. The format
// is that of include/uapi/linux/btf.h. The error wraps ErrNoBTF for something
// else and ErrDamaged where it cannot be.
func Parse(raw []byte) (*Types, error) {
	return parse(raw, nil)
}

// ParseSplit reads the BTF of a module, which continues that of its kernel.
// Errors are those of Parse.
func ParseSplit(raw []byte, base *Types) (*Types, error) {
	return parse(raw, base)
}

func parse(raw []byte, base *Types) (*Types, error) {
	h, err := readHeader(raw)
	if err != nil {
		return nil, err
	}
	t := &Types{base: base, first: 1, pointer: 8}
	if base != nil {
		t.first, t.strings.before = base.end(), &base.strings
	}
	if err := t.strings.load(h.strings); err != nil {
		return nil, err
	}
	if err := t.records.scan(h.types, h.layout); err != nil {
		return nil, err
	}
	t.made = make([]atomic.Pointer[ctype.Type], t.records.count())
	t.indexNames()
	if id, ok := t.find(classOrdinary, "long unsigned int"); ok && t.record(id).size == 4 {
		t.pointer = 4
	}
	return t, nil
}

// end is the number behind that of the last type.
func (t *Types) end() uint32 { return t.first + uint32(t.records.count()) }

// Len is the number of types, those of the base not included.
func (t *Types) Len() int { return t.records.count() }

// Type returns a struct, union, enum, typedef or base type by kind and name,
// nil where there is none of that name. Typedef stands for base types too. A
// definition goes before a declaration, and what is first before what follows.
func (t *Types) Type(kind ctype.Kind, name string) *ctype.Type {
	c := classOrdinary
	switch kind {
	case ctype.Struct:
		c = classStruct
	case ctype.Union:
		c = classUnion
	case ctype.Enum:
		c = classEnum
	}
	if id, ok := t.find(c, name); ok {
		return t.at(id)
	}
	return nil
}

// All goes over the types that have names at the top level of C, those of the
// base not included: structs, unions, enums, typedefs and base types.
func (t *Types) All() iter.Seq[*ctype.Type] {
	return func(yield func(*ctype.Type) bool) {
		for i := range t.records.count() {
			r := t.records.at(i)
			if c := r.class(); r.name == 0 || c == classNone || c == classFunction || c == classVariable {
				continue
			}
			if !yield(t.at(t.first + uint32(i))) {
				return
			}
		}
	}
}

// Variable returns the type of a per-CPU variable, nil where there is none of
// that name.
func (t *Types) Variable(name string) *ctype.Type {
	if id, ok := t.find(classVariable, name); ok {
		return t.at(t.record(id).size)
	}
	return nil
}

// Function returns the type of a function, nil where there is none of that
// name.
func (t *Types) Function(name string) *ctype.Type {
	if id, ok := t.find(classFunction, name); ok {
		return t.at(t.record(id).size)
	}
	return nil
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}
