// Package btfwrite turns C types into BTF, so that the types of a kernel fit
// into a few megabytes whichever source they come from. What it writes is what
// package btf reads, and the kernel's format: Documentation/bpf/btf.rst and
// include/uapi/linux/btf.h of Linux 6.12.
//
// BTF has no way to say _Atomic, which is left out, and none to tell an array
// of no elements from a flexible one.
package btfwrite

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/kmortem/mortem/kernel/ctype"
)

// Kinds of types, include/uapi/linux/btf.h.
const (
	kindInt       = 1
	kindPtr       = 2
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindFwd       = 7
	kindTypedef   = 8
	kindVolatile  = 9
	kindConst     = 10
	kindRestrict  = 11
	kindFunc      = 12
	kindFuncProto = 13
	kindVar       = 14
	kindFloat     = 16
	kindEnum64    = 19
)

// named is the name space and the name of a type.
type named struct {
	kind ctype.Kind
	name string
}

// derived tells types apart that have no name and no members, by kind, target
// and number of elements.
type derived struct {
	kind  uint32
	id    uint32
	count uint32
}

// Encoder collects types. Its methods are not safe for use by several
// goroutines.
type Encoder struct {
	base    *Encoder
	first   uint32 // id of the first record
	records [][]byte
	strings []byte
	offsets map[string]uint32

	ids     map[*ctype.Type]uint32
	names   map[named]*ctype.Type // the types that names stand for
	nameIDs map[named]uint32
	derived map[derived]uint32
	funcs   map[string]uint32
	pending []pending // structs and enums whose members are to be written
	failed  error
}

type pending struct {
	id uint32
	t  *ctype.Type
}

// New makes an encoder; on top of base, where that is not nil, for a module's
// types. The base must not be added to after that.
func New(base *Encoder) *Encoder {
	e := &Encoder{
		base: base, first: 1, offsets: map[string]uint32{},
		ids: map[*ctype.Type]uint32{}, names: map[named]*ctype.Type{}, nameIDs: map[named]uint32{},
		derived: map[derived]uint32{}, funcs: map[string]uint32{},
	}
	if base == nil {
		e.strings = []byte{0} // offset 0 is the empty name
	} else {
		e.first = base.first + uint32(len(base.records))
	}
	return e
}

// Type adds the type that a name stands for. Types of which there are several
// of one name are found by their name only when they are added by this.
func (e *Encoder) Type(t *ctype.Type) { e.id(t) }

// Variable adds a variable.
func (e *Encoder) Variable(name string, t *ctype.Type) {
	id := e.id(t)
	e.flush()
	e.record(name, kindVar<<24, id, 0)
}

// Function adds a function.
func (e *Encoder) Function(name string, t *ctype.Type) {
	if t.Kind != ctype.Func {
		return
	}
	id := e.id(t)
	e.flush()
	e.record(name, kindFunc<<24, id)
}

// Encode returns the BTF. It fails where a type was met that BTF cannot tell,
// or there are too many.
func (e *Encoder) Encode() ([]byte, error) {
	e.flush()
	if e.failed != nil {
		return nil, e.failed
	}
	size := 0
	for _, r := range e.records {
		size += len(r)
	}
	if int64(size)+int64(len(e.strings)) > math.MaxUint32/2 {
		return nil, errors.New("more types than BTF has room for")
	}
	le := binary.LittleEndian
	out := make([]byte, 0, 24+size+len(e.strings))
	out = le.AppendUint16(out, 0xeb9f)
	out = append(out, 1, 0)
	for _, n := range []int{24, 0, size, size, len(e.strings)} {
		out = le.AppendUint32(out, uint32(n))
	}
	for _, r := range e.records {
		out = append(out, r...)
	}
	return append(out, e.strings...), nil
}

// record appends a record and returns its id. The numbers are what follows the
// name.
func (e *Encoder) record(name string, numbers ...uint32) uint32 {
	e.records = append(e.records, e.encode(name, numbers...))
	return e.first + uint32(len(e.records)) - 1
}

func (e *Encoder) encode(name string, numbers ...uint32) []byte {
	r := make([]byte, 0, 4+4*len(numbers))
	r = binary.LittleEndian.AppendUint32(r, e.str(name))
	for _, n := range numbers {
		r = binary.LittleEndian.AppendUint32(r, n)
	}
	return r
}

// str returns the offset of a name.
func (e *Encoder) str(name string) uint32 {
	if name == "" {
		return 0
	}
	start := uint32(0)
	for b := e.base; b != nil; b = b.base {
		if at, ok := b.offsets[name]; ok {
			return at
		}
		start += uint32(len(b.strings))
	}
	at, ok := e.offsets[name]
	if !ok {
		at = start + uint32(len(e.strings))
		e.strings = append(append(e.strings, name...), 0)
		e.offsets[name] = at
	}
	return at
}

// maxDerived bounds chains of pointers, arrays and typedefs.
const maxDerived = 200

// id returns the id of a type, and adds it if it is not there.
func (e *Encoder) id(t *ctype.Type) uint32 { return e.idAt(t, 0) }

func (e *Encoder) idAt(t *ctype.Type, depth int) uint32 {
	for b := e; b != nil; b = b.base {
		if id, ok := b.ids[t]; ok {
			return id
		}
	}
	if depth > maxDerived {
		return 0
	}
	id := e.add(t, depth)
	e.ids[t] = id
	return id
}

// add writes the record of a type, or reserves it for a struct or enum, which
// can refer to itself.
func (e *Encoder) add(t *ctype.Type, depth int) uint32 {
	switch t.Kind {
	case ctype.Int, ctype.Float:
		return e.number(t)
	case ctype.Struct, ctype.Union, ctype.Enum:
		return e.reserve(t)
	case ctype.Pointer:
		return e.derive(kindPtr, e.elem(t, depth), 0)
	case ctype.Const:
		return e.derive(kindConst, e.elem(t, depth), 0)
	case ctype.Volatile:
		return e.derive(kindVolatile, e.elem(t, depth), 0)
	case ctype.Restrict:
		return e.derive(kindRestrict, e.elem(t, depth), 0)
	case ctype.Atomic:
		return e.elem(t, depth)
	case ctype.Array:
		return e.derive(kindArray, e.elem(t, depth), uint32(min(max(t.Count, 0), math.MaxUint32)))
	case ctype.Typedef:
		return e.typedef(t, depth)
	case ctype.Func:
		return e.function(t, depth)
	}
	return 0
}

// elem is the id of what a type is derived from.
func (e *Encoder) elem(t *ctype.Type, depth int) uint32 { return e.idAt(t.Elem(), depth+1) }

// known returns the id of a named type that is the same as one that is there
// already, in the base or under another *ctype.Type.
func (e *Encoder) known(key named, t *ctype.Type) (uint32, bool) {
	for b := e; b != nil; b = b.base {
		if other, ok := b.names[key]; ok && same(other, t) {
			return b.nameIDs[key], true
		}
	}
	return 0, false
}

// claim makes an id the meaning of a name, if it is the first of that name.
func (e *Encoder) claim(key named, t *ctype.Type, id uint32) {
	if _, taken := e.names[key]; !taken {
		e.names[key], e.nameIDs[key] = t, id
	}
}

func (e *Encoder) number(t *ctype.Type) uint32 {
	key := named{ctype.Int, t.Name}
	if id, ok := e.known(key, t); ok {
		return id
	}
	var id uint32
	if t.Kind == ctype.Float {
		id = e.record(t.Name, kindFloat<<24, uint32(t.Bytes))
	} else {
		encoding := uint32(0)
		if t.Signed {
			encoding = 1
		}
		switch t.Encoding {
		case ctype.Char:
			encoding |= 2
		case ctype.Bool:
			encoding = 4
		}
		id = e.record(t.Name, kindInt<<24, uint32(t.Bytes), encoding<<24|uint32(t.Bytes*8)&0xff)
	}
	e.claim(key, t, id)
	return id
}

func (e *Encoder) derive(kind, id, count uint32) uint32 {
	key := derived{kind, id, count}
	for b := e; b != nil; b = b.base {
		if known, ok := b.derived[key]; ok {
			return known
		}
	}
	var own uint32
	if kind == kindArray {
		own = e.record("", kind<<24, 0, id, e.indexType(), count)
	} else {
		own = e.record("", kind<<24, id)
	}
	e.derived[key] = own
	return own
}

// indexType is what counts the elements of arrays; readers want there to be one.
func (e *Encoder) indexType() uint32 {
	return e.number(&ctype.Type{Kind: ctype.Int, Name: "__ARRAY_SIZE_TYPE__", Bytes: 4})
}

func (e *Encoder) typedef(t *ctype.Type, depth int) uint32 {
	key := named{ctype.Typedef, t.Name}
	if id, ok := e.known(key, t); ok {
		return id
	}
	target := e.elem(t, depth)
	id := e.record(t.Name, kindTypedef<<24, target)
	e.claim(key, t, id)
	return id
}

// function writes a function type; equal ones are written once.
func (e *Encoder) function(t *ctype.Type, depth int) uint32 {
	numbers := []uint32{0, e.elem(t, depth)}
	for _, p := range t.Body().Params {
		numbers = append(numbers, e.str(p.Name), e.idAt(p.Type, depth+1))
	}
	if t.Variadic {
		numbers = append(numbers, 0, 0)
	}
	numbers[0] = kindFuncProto<<24 | uint32((len(numbers)-2)/2)&0xffff
	record := e.encode("", numbers...)
	if id, ok := e.funcs[string(record)]; ok {
		return id
	}
	e.records = append(e.records, record)
	id := e.first + uint32(len(e.records)) - 1
	e.funcs[string(record)] = id
	return id
}

// reserve gives a struct, union or enum an id, and leaves its members for
// later.
func (e *Encoder) reserve(t *ctype.Type) uint32 {
	key := named{t.Kind, t.Name}
	if t.Name != "" {
		if id, ok := e.known(key, t); ok {
			return id
		}
	}
	e.records = append(e.records, nil)
	id := e.first + uint32(len(e.records)) - 1
	if t.Name != "" {
		e.claim(key, t, id)
	}
	e.pending = append(e.pending, pending{id, t})
	return id
}
