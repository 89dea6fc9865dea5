package btf

import (
	"github.com/kmortem/mortem/kernel/ctype"
)

// maxHops bounds chains of tags, which stand for the type behind them.
const maxHops = 64

// at returns the type of a number: always the same one.
func (t *Types) at(id uint32) *ctype.Type {
	for range maxHops {
		r := t.record(id)
		if r.kind != kindTypeTag {
			break
		}
		id = r.size
	}
	if id == 0 {
		return ctype.VoidType
	}
	for id < t.first {
		t = t.base
	}
	if id >= t.end() {
		return broken(damaged("type %d is referred to, and there are %d", id, t.end()-1))
	}
	slot := &t.made[id-t.first]
	if made := slot.Load(); made != nil {
		return made
	}
	slot.CompareAndSwap(nil, t.make(id))
	return slot.Load()
}

// broken is a type that could not be decoded.
func broken(err error) *ctype.Type {
	return ctype.Lazy(&ctype.Type{Kind: ctype.Void, Name: "void"}, func() ctype.Body { return ctype.Body{Err: err} })
}

// derived are the kinds that are made of one other type.
var derived = [kindCount]ctype.Kind{
	kindPtr: ctype.Pointer, kindTypedef: ctype.Typedef, kindVolatile: ctype.Volatile,
	kindConst: ctype.Const, kindRestrict: ctype.Restrict,
}

// make decodes a type without its body.
func (t *Types) make(id uint32) *ctype.Type {
	r := t.record(id)
	c := &ctype.Type{Name: t.strings.show(r.name), Bytes: int64(r.size)}
	switch r.kind {
	case kindInt:
		makeInt(c, &r)
		return c
	case kindFloat:
		c.Kind = ctype.Float
		return c
	case kindStruct, kindUnion:
		return t.makeStruct(c, r)
	case kindFwd:
		return t.makeDeclared(c, &r)
	case kindEnum, kindEnum64:
		return t.makeEnum(c, r)
	case kindArray:
		return t.makeArray(&r)
	case kindFuncProto:
		return t.makeFunc(r)
	case kindPtr, kindTypedef, kindVolatile, kindConst, kindRestrict:
		return t.makeDerived(c, &r)
	}
	return broken(damaged("type %d is of kind %d, which is no type of C", id, r.kind))
}

// makeInt decodes an integer. pahole does not mark char types as such.
func makeInt(c *ctype.Type, r *record) {
	const signed, char, boolean = 1, 2, 4
	encoding := r.u32(0) >> 24 & 0xf
	c.Kind = ctype.Int
	c.Signed = encoding&signed != 0
	switch {
	case encoding&boolean != 0:
		c.Encoding = ctype.Bool
	case encoding&char != 0 || c.Bytes == 1 && (c.Name == "char" || c.Name == "signed char" || c.Name == "unsigned char"):
		c.Encoding = ctype.Char
	}
}

func (t *Types) makeDerived(c *ctype.Type, r *record) *ctype.Type {
	c.Kind, c.Bytes = derived[r.kind], 0
	if c.Kind == ctype.Pointer {
		c.Bytes = t.pointer
	}
	target := r.size
	return ctype.Lazy(c, func() ctype.Body { return ctype.Body{Elem: t.at(target)} })
}

// makeDeclared returns the definition of a struct or union that is declared
// here, or else the declaration.
func (t *Types) makeDeclared(c *ctype.Type, r *record) *ctype.Type {
	class := r.class()
	if id, ok := t.find(class, t.strings.at(r.name)); ok {
		if def := t.record(id); !def.declares() {
			return t.at(id)
		}
	}
	c.Kind, c.Bytes, c.Incomplete = ctype.Struct, 0, true
	if class == classUnion {
		c.Kind = ctype.Union
	}
	return c
}

// makeArray decodes an array: element type, index type, number. BTF does not
// tell an array of no elements from a flexible one.
func (t *Types) makeArray(r *record) *ctype.Type {
	c := &ctype.Type{Kind: ctype.Array, Count: int64(r.u32(2))}
	if c.Count == 0 {
		c.Count = -1
	}
	elem := r.u32(0)
	return ctype.Lazy(c, func() ctype.Body { return ctype.Body{Elem: t.at(elem)} })
}

// makeFunc decodes a function type: the result's type is its own, and each
// element has a name and a type. A last one without either is the ellipsis.
func (t *Types) makeFunc(r record) *ctype.Type {
	c := &ctype.Type{Kind: ctype.Func}
	n := r.n
	if n > 0 && r.u32(2*n-2) == 0 && r.u32(2*n-1) == 0 {
		n--
		c.Variadic = true
	}
	return ctype.Lazy(c, func() ctype.Body {
		body := ctype.Body{Elem: t.at(r.size)}
		for i := range n {
			body.Params = append(body.Params, ctype.Param{Name: t.strings.show(r.u32(2 * i)), Type: t.at(r.u32(2*i + 1))})
		}
		return body
	})
}
