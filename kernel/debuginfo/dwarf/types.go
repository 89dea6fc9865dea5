package dwarf

import (
	"cmp"
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel/ctype"
)

// Type returns a struct, union, enum, typedef or base type by kind and name,
// nil where there is none of that name. Struct stands for classes too, Typedef
// for base types too.
func (d *Data) Type(kind ctype.Kind, name string) *ctype.Type {
	return d.named(kindOfType(kind), name)
}

func kindOfType(kind ctype.Kind) nameKind {
	switch kind {
	case ctype.Struct:
		return kindStruct
	case ctype.Union:
		return kindUnion
	case ctype.Enum:
		return kindEnum
	}
	return kindOrdinary
}

// named returns what the index has under a name.
func (d *Data) named(kind nameKind, name string) (t *ctype.Type) {
	err := d.guard(func() error {
		if e, ok := d.names.lookup(kind, name); ok {
			t = d.typeAt(e.die)
		}
		return nil
	})
	if err != nil {
		return broken(err)
	}
	return t
}

// Variable returns the type of a global or file-local variable, nil where there
// is none of that name. An error says that its description is damaged.
func (d *Data) Variable(name string) (*ctype.Type, error) {
	return d.typeOfNamed(kindVariable, name)
}

// Function returns the type of a function, nil where there is none. An error
// says that its description is damaged.
func (d *Data) Function(name string) (*ctype.Type, error) {
	t := d.named(kindFunction, name)
	if t == nil {
		return nil, nil
	}
	return t, t.Body().Err
}

func (d *Data) typeOfNamed(kind nameKind, name string) (t *ctype.Type, err error) {
	err = d.guard(func() error {
		e, ok := d.names.lookup(kind, name)
		if !ok {
			return nil
		}
		t, err = d.typeOfVariable(e.die)
		return err
	})
	return t, err
}

// typeOfVariable follows a definition to the declaration that has the type.
func (d *Data) typeOfVariable(p place) (*ctype.Type, error) {
	for range maxHops {
		e, _, err := d.dieAt(p)
		if err != nil {
			return nil, err
		}
		if e.typ != 0 || e.typeSignature != 0 || e.specification == 0 {
			return d.typeOf(&e), nil
		}
		p = e.specification
	}
	return nil, fmt.Errorf("variable at %s refers to itself", d.space.describe(p))
}

// maxHops bounds chains of DIEs that refer to one another for their name.
const maxHops = 8

// typeOf is the type that a DIE has by DW_AT_type; void where it has none.
func (d *Data) typeOf(e *die) *ctype.Type {
	if t := d.elem(e); t != nil {
		return t
	}
	return ctype.VoidType
}

// elem is the type that a DIE has by DW_AT_type, nil where it has none.
func (d *Data) elem(e *die) *ctype.Type {
	p := e.typ
	if e.typeSignature != 0 {
		if p = d.sigs[e.typeSignature]; p == 0 {
			return broken(fmt.Errorf("DIE at %s: no type unit has the signature %#x", d.space.describe(e.place()), e.typeSignature))
		}
	}
	if p == 0 {
		return nil
	}
	return d.typeAt(p)
}

// broken is a type that could not be decoded.
func broken(err error) *ctype.Type {
	return ctype.Lazy(&ctype.Type{Kind: ctype.Void, Name: "void"}, func() ctype.Body { return ctype.Body{Err: err} })
}

// typeAt returns the type whose DIE is at a place: always the same one, also
// for the DIEs of other units that describe the same type.
func (d *Data) typeAt(p place) *ctype.Type {
	if t := d.cached(p); t != nil {
		return t
	}
	e, table, err := d.resolve(p)
	if err != nil {
		return d.cache(p, broken(err))
	}
	t := d.cached(e.place())
	if t == nil {
		t = d.cache(e.place(), d.makeType(&e, table))
	}
	return d.cache(p, t)
}

// resolve opens the DIE that stands for the one at a place.
func (d *Data) resolve(p place) (e die, table *shapes, err error) {
	for range maxHops {
		if e, table, err = d.dieAt(p); err != nil {
			return e, table, err
		}
		q := d.representative(&e, table)
		if q == p {
			break
		}
		p = q
	}
	return e, table, nil
}

func (d *Data) cached(p place) *ctype.Type {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.types[p]
}

// cache keeps the type of a DIE, unless somebody else was faster.
func (d *Data) cache(p place, t *ctype.Type) *ctype.Type {
	d.mu.Lock()
	defer d.mu.Unlock()
	if other := d.types[p]; other != nil {
		return other
	}
	d.types[p] = t
	return t
}

// makeType makes a type of its DIE. Its body, with all that refers to other
// types, is left for later.
func (d *Data) makeType(e *die, table *shapes) *ctype.Type {
	size, _ := e.byteSize.constant(maxBytes)
	t := &ctype.Type{Name: d.space.show(e.name), Bytes: int64(size)}
	switch e.shape.tag {
	case tagBaseType:
		d.makeBase(t, e)
		return t
	case tagStructureType, tagClassType, tagUnionType:
		return d.makeStruct(t, e, table)
	case tagEnumerationType:
		return d.makeEnum(t, e, table)
	case tagArrayType:
		return d.makeArray(e, table)
	case tagSubroutineType, tagSubprogram:
		return d.makeFunc(t, e, table)
	case tagUnspecifiedType:
		return t
	case tagPointerType, tagReferenceType:
		t.Kind = ctype.Pointer
		if t.Bytes == 0 {
			t.Bytes = int64(e.unit.addrSize)
		}
	case tagTypedef:
		t.Kind = ctype.Typedef
	case tagConstType:
		t.Kind = ctype.Const
	case tagVolatileType:
		t.Kind = ctype.Volatile
	case tagRestrictType:
		t.Kind = ctype.Restrict
	case tagAtomicType:
		t.Kind = ctype.Atomic
	default:
		return broken(fmt.Errorf("DIE at %s has tag %#x, which is no type of C", d.space.describe(e.place()), e.shape.tag))
	}
	copied := *e
	return d.lazy(t, func() ctype.Body { return ctype.Body{Elem: d.elem(&copied)} })
}

// maxBytes bounds sizes and offsets; the largest arrays of kernels are far below.
const maxBytes = 1 << 48

// lazy gives a type a body that is decoded under the guard.
func (d *Data) lazy(t *ctype.Type, fill func() ctype.Body) *ctype.Type {
	return ctype.Lazy(t, func() (body ctype.Body) {
		err := d.guard(func() error {
			body = fill()
			return nil
		})
		if err != nil {
			return ctype.Body{Err: err}
		}
		return body
	})
}

func (d *Data) makeBase(t *ctype.Type, e *die) {
	t.Kind = ctype.Int
	switch e.encoding {
	case encFloat:
		t.Kind = ctype.Float
	case encBoolean:
		t.Encoding = ctype.Bool
	case encSigned:
		t.Signed = true
	case encSignedChar:
		t.Signed = true
		t.Encoding = ctype.Char
	case encUnsignedChar, encUTF:
		t.Encoding = ctype.Char
	}
}

// makeArray decodes an array; one of several dimensions is an array of arrays.
func (d *Data) makeArray(e *die, table *shapes) *ctype.Type {
	var counts []int64
	err := d.children(e, table, func(child *die) bool {
		if child.shape.tag == tagSubrangeType {
			counts = append(counts, subrangeCount(child))
		}
		return len(counts) < maxDimensions
	})
	if err != nil {
		return broken(err)
	}
	if len(counts) == 0 {
		counts = []int64{-1}
	}
	return d.arrayOf(e, counts)
}

const maxDimensions = 16

func (d *Data) arrayOf(e *die, counts []int64) *ctype.Type {
	t := &ctype.Type{Kind: ctype.Array, Count: counts[0]}
	copied := *e
	return d.lazy(t, func() ctype.Body {
		if len(counts) > 1 {
			return ctype.Body{Elem: d.arrayOf(&copied, counts[1:])}
		}
		return ctype.Body{Elem: d.elem(&copied)}
	})
}

// subrangeCount is the number of elements in a dimension, -1 for a flexible
// array member. A GNU C array of no elements has a count of 0, or no bound in
// older compilers' output.
func subrangeCount(e *die) int64 {
	if n, ok := e.count.constant(maxBytes); ok {
		return int64(n)
	}
	if e.upperBound.class == classSigned || e.upperBound.class == classConstant {
		if n := int64(e.upperBound.u) + 1; n >= 0 && n <= maxBytes {
			return n
		}
		if e.upperBound.u == 1<<32-1 || e.upperBound.u == 1<<64-1 {
			return 0
		}
	}
	return -1
}

func (d *Data) makeFunc(t *ctype.Type, e *die, table *shapes) *ctype.Type {
	t.Kind = ctype.Func
	t.Name = ""
	t.Bytes = 0
	origin := *e
	for range maxHops {
		if origin.specification == 0 || !origin.fresh() {
			break
		}
		next, nextTable, err := d.dieAt(origin.specification)
		if err != nil {
			break
		}
		origin, table = next, nextTable
	}
	_ = d.children(&origin, table, func(child *die) bool {
		t.Variadic = child.shape.tag == tagUnspecifiedParam
		return !t.Variadic && d.spend(1) == nil
	})
	return d.lazy(t, func() ctype.Body {
		body := ctype.Body{Elem: d.elem(&origin)}
		var spent error
		body.Err = d.children(&origin, table, func(child *die) bool {
			if child.shape.tag == tagFormalParameter {
				body.Params = append(body.Params, ctype.Param{Name: d.space.show(child.name), Type: d.typeOf(child)})
			}
			spent = d.spend(1)
			return spent == nil
		})
		body.Err = cmp.Or(spent, body.Err)
		return body
	})
}

// fresh tells whether a function's DIE leaves its type to the one it refers to.
func (d *die) fresh() bool { return d.typ == 0 && d.typeSignature == 0 && d.name == 0 }

// Types goes over the names of all structs, unions, enums, typedefs and base
// types in the index, in no particular order. Base types come as ctype.Typedef,
// as Type takes them.
func (d *Data) Types() iter.Seq2[ctype.Kind, string] {
	return func(yield func(ctype.Kind, string) bool) {
		kinds := map[nameKind]ctype.Kind{kindStruct: ctype.Struct, kindUnion: ctype.Union, kindEnum: ctype.Enum, kindOrdinary: ctype.Typedef}
		for e := range d.names.all() {
			if kind, ok := kinds[e.kind]; ok && !yield(kind, d.nameOf(e)) {
				return
			}
		}
	}
}

// Variables goes over the names of all variables, in no particular order.
func (d *Data) Variables() iter.Seq[string] { return d.all(kindVariable) }

// Functions goes over the names of all functions, in no particular order.
func (d *Data) Functions() iter.Seq[string] { return d.all(kindFunction) }

func (d *Data) all(kind nameKind) iter.Seq[string] {
	return func(yield func(string) bool) {
		for e := range d.names.all() {
			if e.kind == kind && !yield(d.nameOf(e)) {
				return
			}
		}
	}
}

// nameOf reads the name of an entry of the index.
func (d *Data) nameOf(e entry) (name string) {
	_ = d.guard(func() error {
		name = d.space.string(e.name)
		return nil
	})
	return name
}
