package dwarf

// fixedSize is the size of a form's value in bytes, -1 where it varies.
func fixedSize(form uint64, u *unit) int {
	switch form {
	case formFlagPresent, formImplicitConst:
		return 0
	case formData1, formRef1, formFlag, formStrx1, formAddrx1:
		return 1
	case formData2, formRef2, formStrx2, formAddrx2:
		return 2
	case formStrx3, formAddrx3:
		return 3
	case formData4, formRef4, formStrx4, formAddrx4, formRefSup4:
		return 4
	case formData8, formRef8, formRefSig8, formRefSup8:
		return 8
	case formData16:
		return 16
	case formAddr:
		return int(u.addrSize)
	case formStrp, formLineStrp, formSecOffset, formStrpSup, formGNUStrpAlt, formGNURefAlt:
		return int(u.offsetSize)
	case formRefAddr:
		if u.version == 2 {
			return int(u.addrSize)
		}
		return int(u.offsetSize)
	}
	return -1
}

// variableStep moves over a form whose size varies.
func variableStep(form uint64) step {
	switch form {
	case formSdata, formUdata, formRefUdata, formStrx, formAddrx, formLoclistx, formRnglistx, formGNUAddrIndex, formGNUStrIndex:
		return step{stepLeb, 0}
	case formString:
		return step{stepString, 0}
	case formBlock1:
		return step{stepBlock, 1}
	case formBlock2:
		return step{stepBlock, 2}
	case formBlock4:
		return step{stepBlock, 4}
	case formBlock, formExprloc:
		return step{stepBlock, 0}
	case formIndirect:
		return step{stepIndirect, 0}
	}
	return step{stepUnknown, uint16(min(form, 1<<16-1))}
}

// run takes one step.
func (st step) run(c *cursor, u *unit) {
	switch st.op {
	case stepSkip:
		c.skip(uint64(st.arg))
	case stepLeb:
		c.skipLeb()
	case stepString:
		c.skipString()
	case stepBlock:
		if st.arg == 0 {
			c.skip(c.uleb())
		} else {
			c.skip(c.uint(int(st.arg)))
		}
	case stepIndirect:
		skipForm(c, c.uleb(), u)
	default:
		c.fail()
	}
}

// skipForm moves over a value.
func skipForm(c *cursor, form uint64, u *unit) {
	if form == formIndirect || form == formImplicitConst {
		c.fail() // an indirect form that names these is damage
		return
	}
	if n := fixedSize(form, u); n >= 0 {
		c.skip(uint64(n))
		return
	}
	variableStep(form).run(c, u)
}

// class tells what a value is.
type class uint8

const (
	classNone class = iota
	classConstant
	classSigned // a constant that is known to be signed
	classFlag
	classString    // place of the string
	classReference // place of a DIE
	classSignature // of a type unit
	classBlock     // bytes, or an expression
	classAddress
	classIndex  // into .debug_addr
	classOffset // into another section
	classList   // index of a location or range list
	classOther
)

// value is an attribute's value.
type value struct {
	class class
	u     uint64
	block []byte
}

// readValue decodes a value. The cursor is at it, implicit is the number in
// the abbreviation declaration.
func readValue(c *cursor, form uint64, implicit int64, u *unit) value {
	if form == formIndirect {
		if form = c.uleb(); form == formIndirect || form == formImplicitConst {
			c.fail()
			return value{}
		}
	}
	switch form {
	case formImplicitConst:
		return value{class: classSigned, u: uint64(implicit)}
	case formSdata:
		return value{class: classSigned, u: uint64(c.sleb())}
	case formUdata:
		return value{class: classConstant, u: c.uleb()}
	case formData1, formData2, formData4, formData8:
		return value{class: classConstant, u: c.uint(fixedSize(form, u))}
	case formFlagPresent:
		return value{class: classFlag, u: 1}
	case formFlag:
		return value{class: classFlag, u: uint64(c.u8())}
	case formAddr:
		return value{class: classAddress, u: c.uint(int(u.addrSize))}
	case formSecOffset:
		return value{class: classOffset, u: c.uint(int(u.offsetSize))}
	case formLoclistx, formRnglistx:
		return value{class: classList, u: c.uleb()}
	case formRefSig8:
		return value{class: classSignature, u: c.u64()}
	case formBlock1, formBlock2, formBlock4:
		return value{class: classBlock, block: c.bytes(c.uint(int(variableStep(form).arg)))}
	case formBlock, formExprloc:
		return value{class: classBlock, block: c.bytes(c.uleb())}
	case formData16:
		return value{class: classBlock, block: c.bytes(16)}
	}
	if v, ok := readReference(c, form, u); ok {
		return v
	}
	if v, ok := readIndex(c, form, u); ok {
		return v
	}
	if p, ok := readString(c, form, u); ok {
		return value{class: classString, u: uint64(p)}
	}
	c.fail()
	return value{}
}

// readReference decodes the forms that refer to DIEs in the unit, in the file
// and in the file shared by several (DWARF 5 section 7.3.6, and the GNU form
// that dwz writes for older versions).
func readReference(c *cursor, form uint64, u *unit) (value, bool) {
	var offset uint64
	switch form {
	case formRef1, formRef2, formRef4, formRef8:
		offset = c.uint(fixedSize(form, u))
	case formRefUdata:
		offset = c.uleb()
	case formRefAddr:
		offset = c.uint(fixedSize(form, u))
		return value{class: classReference, u: uint64(inSection(u.file.info, u.file.Info, offset))}, true
	case formGNURefAlt, formRefSup4, formRefSup8:
		offset = c.uint(fixedSize(form, u))
		if u.file.alt == nil {
			return value{class: classReference}, true
		}
		return value{class: classReference, u: uint64(inSection(u.file.alt.info, u.file.alt.Info, offset))}, true
	default:
		return value{}, false
	}
	if at := u.within(offset); at >= 0 {
		return value{class: classReference, u: uint64(u.place(at))}, true
	}
	return value{class: classReference}, true
}

// readIndex decodes the forms that count entries of .debug_addr.
func readIndex(c *cursor, form uint64, u *unit) (value, bool) {
	switch form {
	case formAddrx, formGNUAddrIndex:
		return value{class: classIndex, u: c.uleb()}, true
	case formAddrx1, formAddrx2, formAddrx3, formAddrx4:
		return value{class: classIndex, u: c.uint(fixedSize(form, u))}, true
	}
	return value{}, false
}

// readString decodes the forms of strings to the string's place, 0 for one
// that lies outside its section.
func readString(c *cursor, form uint64, u *unit) (place, bool) {
	switch form {
	case formString:
		at := u.place(c.off)
		c.skipString()
		return at, true
	case formStrp:
		return inSection(u.file.str, u.file.Str, c.uint(int(u.offsetSize))), true
	case formLineStrp:
		return inSection(u.file.lineStr, u.file.LineStr, c.uint(int(u.offsetSize))), true
	case formGNUStrpAlt, formStrpSup:
		offset := c.uint(int(u.offsetSize))
		if u.file.alt == nil {
			return 0, true
		}
		return inSection(u.file.alt.str, u.file.alt.Str, offset), true
	case formStrx, formGNUStrIndex:
		return u.indexedString(c.uleb()), true
	case formStrx1, formStrx2, formStrx3, formStrx4:
		return u.indexedString(c.uint(fixedSize(form, u))), true
	}
	return 0, false
}

// indexedString finds a string by its number in the unit's table of offsets.
func (u *unit) indexedString(i uint64) place {
	table := u.file.StrOffsets
	if i > uint64(len(table)) || u.strOffsets > uint64(len(table)) {
		return 0
	}
	c := cursor{data: table}
	c.skip(u.strOffsets + i*uint64(u.offsetSize))
	offset := c.uint(int(u.offsetSize))
	if c.bad {
		return 0
	}
	return inSection(u.file.str, u.file.Str, offset)
}

func inSection(base place, data []byte, offset uint64) place {
	if offset >= uint64(len(data)) {
		return 0
	}
	return base + place(offset)
}
