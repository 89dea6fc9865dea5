package dwarf

import (
	"errors"
	"fmt"
)

// shape is an abbreviation declaration (DWARF 5, 7.5.3), compiled for walking
// over DIEs without looking at each attribute.
type shape struct {
	specs    uint32 // where the list of attributes and forms begins in .debug_abbrev
	steps    uint32 // where its steps begin in the table's
	lastStep uint32 // and where they end
	tag      uint16
	size     int32 // of all attributes, -1 if that varies from DIE to DIE
	nameAt   int16 // offset of DW_AT_name in a DIE of fixed size
	sibAt    int16 // offset of DW_AT_sibling in a DIE of fixed size
	nameForm uint16
	sibForm  uint8
	kind     nameKind
	children bool
	declared bool // DW_AT_declaration, with a form that is always true
	external bool // DW_AT_external, likewise
	slow     bool // has captured attributes of a form that needs the full decoder
}

// step moves over a part of a DIE, or notes where an attribute begins.
type step struct {
	op  uint8
	arg uint16
}

const (
	stepSkip     = iota // arg bytes
	stepLeb             // a LEB128 number
	stepString          // up to and with a zero byte
	stepBlock           // arg bytes of length (0: ULEB128), then as many bytes
	stepCapture         // arg: which attribute begins here
	stepIndirect        // the form comes before the value
	stepUnknown         // arg: a form that is not in the standard
)

// The attributes that steps capture.
const (
	capName = iota
	capSibling
	capDeclaration
	capExternal
	captures
)

// shapes is a compiled abbreviation table.
type shapes struct {
	list  []shape
	steps []step
	codes map[uint64]int // nil where code n is list[n-1], as compilers write it
}

func (t *shapes) get(code uint64) *shape {
	if t.codes != nil {
		i, ok := t.codes[code]
		if !ok {
			return nil
		}
		return &t.list[i]
	}
	if code-1 >= uint64(len(t.list)) {
		return nil
	}
	return &t.list[code-1]
}

var errAbbrev = errors.New("abbreviation table is cut short")

// compile reads the table at an offset of .debug_abbrev. The memory of t is
// used again. n is the number of bytes read.
func (t *shapes) compile(abbrev []byte, offset uint64, u *unit) (n int, err error) {
	return t.compileUntil(abbrev, offset, u, 0)
}

// compileUntil stops behind the declaration of a code, if that is not 0.
func (t *shapes) compileUntil(abbrev []byte, offset uint64, u *unit, last uint64) (n int, err error) {
	t.list, t.steps, t.codes = t.list[:0], t.steps[:0], nil
	if offset >= uint64(len(abbrev)) || int64(len(abbrev)) > 1<<32-1 {
		return 0, fmt.Errorf("abbreviation table at %#x lies outside .debug_abbrev (%#x bytes)", offset, len(abbrev))
	}
	c := cursor{data: abbrev, off: int(offset)}
	for {
		code := c.uleb()
		if code == 0 {
			break
		}
		if code != uint64(len(t.list))+1 || t.codes != nil {
			t.sparse(code)
		}
		t.list = append(t.list, shape{})
		t.declaration(&c, &t.list[len(t.list)-1], u)
		if code == last {
			break
		}
	}
	if c.bad {
		return 0, fmt.Errorf("table at .debug_abbrev+%#x: %w", offset, errAbbrev)
	}
	return c.off - int(offset), nil
}

// sparse notes a code that is not the next in sequence.
func (t *shapes) sparse(code uint64) {
	if t.codes == nil {
		t.codes = make(map[uint64]int, len(t.list)+1)
		for i := range t.list {
			t.codes[uint64(i)+1] = i
		}
	}
	t.codes[code] = len(t.list)
}

// declaration compiles one declaration.
func (t *shapes) declaration(c *cursor, s *shape, u *unit) {
	s.tag = uint16(c.uleb())
	s.children = c.u8() != 0
	s.specs = uint32(c.off)
	s.steps = uint32(len(t.steps))
	s.kind = kindOfTag(s.tag)
	for {
		attr, form := c.uleb(), c.uleb()
		if form == formImplicitConst {
			c.skipLeb()
		}
		if attr == 0 && form == 0 || c.bad {
			break
		}
		t.attribute(s, attr, form, u)
	}
	t.finish(s)
}

// attribute adds the steps for one attribute.
func (t *shapes) attribute(s *shape, attr, form uint64, u *unit) {
	switch attr {
	case attrName:
		if s.kind != kindNone {
			s.nameForm = uint16(form)
			t.steps = append(t.steps, step{stepCapture, capName})
		}
	case attrSibling:
		if s.children {
			s.sibForm = uint8(form)
			t.steps = append(t.steps, step{stepCapture, capSibling})
		}
	case attrSpecification:
		if s.kind != kindNone {
			s.slow = true
		}
	case attrDeclaration:
		s.declared = form == formFlagPresent
		if form == formFlag {
			t.steps = append(t.steps, step{stepCapture, capDeclaration})
		}
	case attrExternal:
		s.external = form == formFlagPresent
		if form == formFlag {
			t.steps = append(t.steps, step{stepCapture, capExternal})
		}
	}
	t.form(s, form, u)
}

// form adds the step over an attribute's value.
func (t *shapes) form(s *shape, form uint64, u *unit) {
	switch n := fixedSize(form, u); {
	case n == 0:
	case n > 0:
		if last := len(t.steps) - 1; last >= int(s.steps) && t.steps[last].op == stepSkip && t.steps[last].arg < 1<<14 {
			t.steps[last].arg += uint16(n)
			return
		}
		t.steps = append(t.steps, step{stepSkip, uint16(n)})
	default:
		t.steps = append(t.steps, variableStep(form))
	}
}

// finish finds out whether all DIEs of the shape have the same size, and then
// where in them the name and the sibling lie.
func (t *shapes) finish(s *shape) {
	s.lastStep = uint32(len(t.steps))
	at := int32(0)
	for _, st := range t.steps[s.steps:] {
		switch {
		case st.op == stepSkip:
			at += int32(st.arg)
		case st.op == stepCapture && st.arg == capName && at < 1<<15:
			s.nameAt = int16(at)
		case st.op == stepCapture && st.arg == capSibling && at < 1<<15:
			s.sibAt = int16(at)
		default:
			s.size = -1
			return
		}
	}
	s.size = at
	if s.slow {
		s.size = -1
	}
}
