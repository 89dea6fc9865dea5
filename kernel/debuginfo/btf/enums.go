package btf

import (
	"github.com/kmortem/mortem/kernel/ctype"
)

// makeEnum decodes an enum. Its flag tells that it is signed; where no enum
// has that flag, which pahole before 1.24 did not set, one with a negative
// constant is.
func (t *Types) makeEnum(c *ctype.Type, r record) *ctype.Type {
	c.Kind = ctype.Enum
	if r.declares() {
		c.Bytes, c.Incomplete = 0, true
		return c
	}
	c.Signed = r.flag
	if !t.signs {
		for i := range r.n {
			c.Signed = c.Signed || r.kind == kindEnum && int32(r.u32(2*i+1)) < 0
		}
	}
	return ctype.Lazy(c, func() ctype.Body {
		list := make([]ctype.Enumerator, r.n)
		for i := range list {
			list[i] = ctype.Enumerator{Name: t.strings.show(r.constantName(i)), Value: r.constantValue(i, c.Signed)}
		}
		return ctype.Body{Enumerators: list}
	})
}

func (r *record) constantName(i int) uint32 {
	if r.kind == kindEnum64 {
		return r.u32(3 * i)
	}
	return r.u32(2 * i)
}

func (r *record) constantValue(i int, signed bool) int64 {
	switch {
	case r.kind == kindEnum64:
		return int64(uint64(r.u32(3*i+1)) | uint64(r.u32(3*i+2))<<32)
	case signed:
		return int64(int32(r.u32(2*i + 1)))
	}
	return int64(r.u32(2*i + 1))
}

// constants finds the enum of a constant by name.
type constants struct {
	names index
	enums []uint32 // numbers of types, by number of constant
	at    []uint32 // which constant of its enum, in the same way
}

// Enumerator finds a constant of any enum by name, and the enum. The first
// call makes an index of all constants.
func (t *Types) Enumerator(name string) (value int64, enum *ctype.Type, ok bool) {
	for s := t; s != nil && name != ""; s = s.base {
		s.constantsOnce.Do(s.indexConstants)
		for i := range s.constants.names.each(hashName(classNone, name)) {
			id, at := s.constants.enums[i], int(s.constants.at[i])
			r := s.record(id)
			if s.strings.at(r.constantName(at)) == name {
				enum = s.at(id)
				return r.constantValue(at, enum.Signed), enum, true
			}
		}
	}
	return 0, nil, false
}

func (t *Types) indexConstants() {
	x := &t.constants
	for i := range t.records.count() {
		r := t.records.at(i)
		if r.kind != kindEnum && r.kind != kindEnum64 {
			continue
		}
		for at := range r.n {
			x.enums = append(x.enums, t.first+uint32(i))
			x.at = append(x.at, uint32(at))
		}
	}
	x.names = newIndex(len(x.enums))
	for i := len(x.enums) - 1; i >= 0; i-- {
		r := t.record(x.enums[i])
		if name := t.strings.at(r.constantName(int(x.at[i]))); name != "" {
			x.names.put(hashName(classNone, name), i)
		}
	}
}
