// Package ctype is the one form in which C types reach the rest of the
// program, whichever source they come from: DWARF, BTF or an index file.
package ctype

import "sync"

// Kind tells what sort of C type a Type is.
type Kind uint8

// The kinds of C types.
const (
	Void Kind = iota
	Int       // integers, _Bool and char; see Type.Signed, Type.Encoding
	Float
	Pointer
	Array
	Struct
	Union
	Enum
	Typedef
	Func
	Const
	Volatile
	Restrict
	Atomic
)

// Encoding tells what the bits of an Int stand for.
type Encoding uint8

// The encodings of integers.
const (
	Plain Encoding = iota
	Bool
	Char
)

// Type is one C type. Types are shared and must not be changed; their methods
// are safe for use by many goroutines. The bodies of structs, unions and enums
// are decoded when they are first asked for.
type Type struct {
	Kind     Kind
	Name     string   // tag, base type name or typedef name; empty where anonymous
	Bytes    int64    // size in bytes; 0 for incomplete types, functions and void; see Size
	Signed   bool     // Int and Enum
	Encoding Encoding // Int
	Count    int64    // Array: number of elements, -1 for a flexible array member
	Variadic bool     // Func: ends in ...

	// Incomplete is set for a struct, union or enum that is only declared.
	Incomplete bool

	once sync.Once
	fill func() Body
	body Body
}

// Body is the part of a type that refers to other types or is long.
type Body struct {
	Elem        *Type // Pointer: target; Array: element; Typedef and qualifiers: what they stand for; Func: result; Enum: the integer type, may be nil. nil stands for void
	Members     []Member
	Enumerators []Enumerator
	Params      []Param // Func
	Err         error   // the debug information is damaged here
}

// Member is one member of a struct or union.
type Member struct {
	Name   string // empty for an anonymous struct or union
	Offset int64  // bytes from the start of the type; for a bit-field that of the byte where BitOffset counts from
	// BitSize is the width of a bit-field in bits, 0 for others. BitOffset
	// counts bits from the least significant bit of the little-endian unit
	// of Type's size at Offset.
	BitOffset uint8
	BitSize   uint8
	Type      *Type
}

// Enumerator is one constant of an enum.
type Enumerator struct {
	Name  string
	Value int64
}

// Param is one parameter of a function type.
type Param struct {
	Name string // mostly empty in DWARF and BTF
	Type *Type
}

// Lazy gives a fresh type a body that fill decodes when it is first asked for,
// and returns the type.
func Lazy(t *Type, fill func() Body) *Type {
	t.fill = fill
	return t
}

// Body decodes the type's body, once.
func (t *Type) Body() *Body {
	t.once.Do(func() {
		if t.fill != nil {
			t.body = t.fill()
			t.fill = nil
		}
	})
	return &t.body
}

// Elem is the type that a pointer points to, an array consists of, a typedef
// or qualifier stands for, or a function returns; a Void type where the debug
// information names none.
func (t *Type) Elem() *Type {
	if e := t.Body().Elem; e != nil {
		return e
	}
	return VoidType
}

// Members are the members of a struct or union in the order of declaration.
func (t *Type) Members() []Member { return t.Body().Members }

// Enumerators are the constants of an enum in the order of declaration.
func (t *Type) Enumerators() []Enumerator { return t.Body().Enumerators }

// VoidType is C's void.
var VoidType = &Type{Kind: Void, Name: "void"}
