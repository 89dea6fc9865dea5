package dwarf

import (
	"fmt"
	"math"
	"sort"
)

// unit is one contribution to .debug_info or .debug_types (DWARF 5, 7.5.1).
type unit struct {
	file *file
	data []byte // the section up to the unit's end; offsets count from the section's start
	base place  // of the section

	version    uint8
	addrSize   uint8
	offsetSize uint8 // 4, or 8 in the 64-bit format
	kind       uint8 // utCompile, …
	start      uint64
	die        uint64 // offset of the first DIE
	abbrev     uint64 // offset in .debug_abbrev
	signature  uint64 // type units, and skeletons: the id of the split unit
	typeOffset uint64 // type units: offset of the type's DIE, from the unit's start

	strOffsets uint64 // DW_AT_str_offsets_base
	language   uint16

	skeleton place // of a split unit: the skeleton's DIE
	dwo      place // of a skeleton: the split unit's DIE
}

func (u *unit) place(offset int) place { return u.base + place(offset) }
func (u *unit) end() place             { return u.base + place(len(u.data)) }

// readUnits reads the headers of all units in a section. What follows a
// damaged header is lost; the units before it are returned with the error.
func (d *Data) readUnits(f *file, data []byte, base place, types bool, sectionName string) ([]unit, error) {
	const step = 8 << 20 // reading a page of a mapping brings in its neighbours
	var list []unit
	released := 0
	for c := (cursor{data: data}); c.more(); {
		u := unit{file: f, base: base, start: uint64(c.off)}
		end, err := u.header(&c, types)
		if err != nil {
			return list, fmt.Errorf("%s: unit at %s+%#x: %w", f.File, sectionName, u.start, err)
		}
		u.data = data[:end:end]
		if u.kind != 0 {
			list = append(list, u)
		}
		c.off = end
		if end-released > step {
			d.release(data[released:end])
			released = end
		}
	}
	d.release(data[released:])
	return list, nil
}

// header reads the header and returns the offset of the unit's end. Padding
// between units leaves kind 0.
func (u *unit) header(c *cursor, types bool) (int, error) {
	length := uint64(c.u32())
	u.offsetSize = 4
	if length == 0xffffffff {
		u.offsetSize = 8
		length = c.u64()
	}
	if c.bad || length > uint64(len(c.data)-c.off) {
		return 0, fmt.Errorf("length %#x goes beyond the section's end (%#x)", length, len(c.data))
	}
	end := c.off + int(length)
	if length == 0 {
		return end, nil
	}
	body := cursor{data: c.data[:end], off: c.off}
	version := body.u16()
	if version < 2 || version > 5 {
		return 0, fmt.Errorf("DWARF version %d is not supported", version)
	}
	u.version = uint8(version)
	u.layout(&body, types)
	if body.bad {
		return 0, fmt.Errorf("header does not fit the unit of %#x bytes", length)
	}
	if u.addrSize != 4 && u.addrSize != 8 {
		return 0, fmt.Errorf("addresses of %d bytes are not supported", u.addrSize)
	}
	if u.kind < utCompile || u.kind > utSplitType {
		u.kind = 0 // a kind that a vendor made up; its length is known, so it can be passed over
	}
	u.die = uint64(body.off)
	return end, nil
}

// layout reads what follows the version.
func (u *unit) layout(c *cursor, types bool) {
	if u.version < 5 {
		u.kind = utCompile
		u.abbrev = c.uint(int(u.offsetSize))
		u.addrSize = c.u8()
	} else {
		u.kind = c.u8()
		u.addrSize = c.u8()
		u.abbrev = c.uint(int(u.offsetSize))
	}
	if types {
		u.kind = utType
	}
	switch u.kind {
	case utType, utSplitType:
		u.signature = c.u64()
		u.typeOffset = c.uint(int(u.offsetSize))
	case utSkeleton, utSplitCompile:
		u.signature = c.u64()
	}
	if u.kind == utSkeleton || u.kind == utSplitCompile || u.kind == utSplitType || u.version == 5 {
		u.strOffsets = 2 * uint64(u.offsetSize) // where the first table begins; DW_AT_str_offsets_base overrides
	}
}

// unitAt finds the unit that a place is in.
func (d *Data) unitAt(p place) *unit {
	i := sort.Search(len(d.units), func(i int) bool { return d.units[i].place(int(d.units[i].start)) > p }) - 1
	if i < 0 || p >= d.units[i].end() || p < d.units[i].place(int(d.units[i].die)) {
		return nil
	}
	return &d.units[i]
}

// within turns an offset from the unit's start into one from the section's,
// -1 when it leaves the unit.
func (u *unit) within(offset uint64) int {
	if offset > math.MaxInt32 || u.start+offset >= uint64(len(u.data)) || u.start+offset < u.die {
		return -1
	}
	return int(u.start + offset)
}
