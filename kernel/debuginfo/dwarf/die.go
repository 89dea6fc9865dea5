package dwarf

import (
	"fmt"
)

// die is a DIE with those of its attributes that types and names are made of.
type die struct {
	unit  *unit
	shape *shape
	start int // offset in the section
	next  int // offset behind the attributes: its first child or its next sibling

	name           place
	sibling        place
	typ            place // DW_AT_type, or the type unit named by it
	specification  place // also DW_AT_abstract_origin
	signature      uint64
	typeSignature  uint64
	byteSize       value
	bitSize        value
	bitOffset      value // DWARF 2 and 3: counts from the most significant bit
	dataBitOffset  value
	memberLocation value
	upperBound     value
	count          value
	constValue     value
	lowPC, highPC  value
	encoding       uint8
	declared       bool
	external       bool
	prototyped     bool
	line, column   uint32
	language       uint16
	strOffsets     value
	dwoName        place
	compDir        place
	dwoID          uint64
	addrBase       value
	ranges         value
	rangesBase     value // GNU split DWARF 4
	rnglistsBase   value
	loclistsBase   value
	callFile       uint32
	callLine       uint32
	inline         bool // DW_AT_inline: an abstract instance
	stmtList       value
	location       value
	frameBase      value
	file           uint32
}

func (d *die) place() place { return d.unit.place(d.start) }

// readDIE decodes the DIE at an offset of the unit's section.
func (d *Data) readDIE(u *unit, offset int, table *shapes) (die, error) {
	c := cursor{data: u.data, off: offset}
	code := c.uleb()
	if code == 0 {
		return die{}, fmt.Errorf("no DIE at %s", d.space.describe(u.place(offset)))
	}
	s := table.get(code)
	if s == nil {
		return die{}, fmt.Errorf("DIE at %s has abbreviation %d, which is not declared", d.space.describe(u.place(offset)), code)
	}
	e := die{unit: u, shape: s, start: offset}
	specs := cursor{data: u.file.Abbrev, off: int(s.specs)}
	for {
		attr, form := specs.uleb(), specs.uleb()
		implicit := int64(0)
		if form == formImplicitConst {
			implicit = specs.sleb()
		}
		if attr == 0 && form == 0 || specs.bad {
			break
		}
		e.set(attr, readValue(&c, form, implicit, u))
	}
	if c.bad {
		return die{}, fmt.Errorf("DIE at %s goes beyond the unit's end or has a form that is unknown", d.space.describe(u.place(offset)))
	}
	e.next = c.off
	return e, nil
}

// set keeps an attribute.
func (d *die) set(attr uint64, v value) {
	switch attr {
	case attrSibling:
		d.sibling = v.reference()
	case attrName:
		d.name = v.string()
	case attrType:
		if v.class == classSignature {
			d.typeSignature = v.u
		}
		d.typ = v.reference()
	case attrSignature:
		d.signature = v.u
	case attrSpecification, attrAbstractOrigin:
		d.specification = v.reference()
	case attrByteSize:
		d.byteSize = v
	case attrBitSize:
		d.bitSize = v
	case attrBitOffset:
		d.bitOffset = v
	case attrDataBitOffset:
		d.dataBitOffset = v
	case attrMemberLocation:
		d.memberLocation = v
	case attrUpperBound:
		d.upperBound = v
	case attrCount:
		d.count = v
	case attrConstValue:
		d.constValue = v
	case attrEncoding:
		d.encoding = uint8(v.u)
	case attrDeclaration:
		d.declared = v.u != 0
	case attrExternal:
		d.external = v.u != 0
	case attrPrototyped:
		d.prototyped = v.u != 0
	case attrDeclFile:
		d.file = uint32(v.u)
	case attrDeclLine:
		d.line = uint32(v.u)
	case attrDeclColumn:
		d.column = uint32(v.u)
	default:
		d.setUnit(attr, v)
	}
}

// setUnit keeps an attribute that units and functions have.
func (d *die) setUnit(attr uint64, v value) {
	switch attr {
	case attrLanguage:
		d.language = uint16(v.u)
	case attrStrOffsetsBase:
		d.strOffsets = v
	case attrDwoName, attrGNUDwoName:
		d.dwoName = v.string()
	case attrGNUDwoID:
		d.dwoID = v.u
	case attrCompDir:
		d.compDir = v.string()
	case attrAddrBase, attrGNUAddrBase:
		d.addrBase = v
	case attrStmtList:
		d.stmtList = v
	case attrGNURangesBase:
		d.rangesBase = v
	case attrRnglistsBase:
		d.rnglistsBase = v
	case attrLoclistsBase:
		d.loclistsBase = v
	case attrCallFile:
		d.callFile = uint32(v.u)
	case attrCallLine:
		d.callLine = uint32(v.u)
	case attrInline:
		d.inline = v.u != 0
	case attrRanges:
		d.ranges = v
	case attrLowPC:
		d.lowPC = v
	case attrHighPC:
		d.highPC = v
	case attrLocation:
		d.location = v
	case attrFrameBase:
		d.frameBase = v
	}
}

func (v value) reference() place {
	if v.class != classReference {
		return 0
	}
	return place(v.u)
}

func (v value) string() place {
	if v.class != classString {
		return 0
	}
	return place(v.u)
}

// constant returns the value of a constant, of at most limit.
func (v value) constant(limit uint64) (uint64, bool) {
	ok := (v.class == classConstant || v.class == classSigned) && v.u <= limit
	return v.u, ok
}

// root takes from the unit's own DIE what the unit needs.
func (u *unit) root(root *die) {
	u.language = root.language
	if v := root.strOffsets; v.class == classOffset {
		u.strOffsets = v.u
	}
}

// children calls visit for each child of a DIE until it returns false.
func (d *Data) children(parent *die, table *shapes, visit func(*die) bool) error {
	if !parent.shape.children {
		return nil
	}
	end := len(parent.unit.data)
	if parent.sibling > parent.unit.place(parent.next) && parent.sibling <= parent.unit.end() {
		end = int(parent.sibling - parent.unit.base)
	}
	for at := parent.next; at < end; {
		if parent.unit.data[at] == 0 {
			return nil
		}
		child, err := d.readDIE(parent.unit, at, table)
		if err != nil {
			return err
		}
		if !visit(&child) {
			return nil
		}
		if at, err = d.after(&child, table); err != nil {
			return err
		}
	}
	return nil
}

// maxNesting bounds how deep DIEs nest below one whose sibling is not named. Compilers stay
// far below; without a bound, to go down into each of them, of which every step passes
// over all that are below, would take time with the square of their number.
const maxNesting = maxBlocks

// after is the offset behind a DIE and all its children.
func (d *Data) after(e *die, table *shapes) (int, error) {
	if !e.shape.children {
		return e.next, nil
	}
	if e.sibling != 0 {
		if e.sibling < e.unit.place(e.next) || e.sibling > e.unit.end() {
			return 0, fmt.Errorf("DIE at %s has a sibling that is not behind it", d.space.describe(e.place()))
		}
		return int(e.sibling - e.unit.base), nil
	}
	c := cursor{data: e.unit.data, off: e.next}
	var at [captures]int
	for depth := 1; depth > 0 && c.more(); {
		start := c.off
		code := c.uleb()
		if code == 0 {
			depth--
			continue
		}
		s := table.get(code)
		if s == nil {
			return 0, fmt.Errorf("DIE at %s has abbreviation %d, which is not declared", d.space.describe(e.unit.place(start)), code)
		}
		table.walk(&c, s, e.unit, &at)
		if c.bad {
			return 0, fmt.Errorf("DIE at %s goes beyond the unit's end", d.space.describe(e.unit.place(start)))
		}
		if s.children {
			depth++
		}
		if depth > maxNesting {
			return 0, fmt.Errorf("DIE at %s has others nested deeper than %d levels: it must be damage", d.space.describe(e.place()), maxNesting)
		}
	}
	return c.off, nil
}
