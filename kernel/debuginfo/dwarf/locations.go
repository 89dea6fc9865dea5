package dwarf

// Entries of .debug_loclists, DWARF 5, 7.7.3.
const (
	lleEnd             = 0
	lleBaseAddressx    = 1
	lleStartxEndx      = 2
	lleStartxLength    = 3
	lleOffsetPair      = 4
	lleDefaultLocation = 5
	lleBaseAddress     = 6
	lleStartEnd        = 7
	lleStartLength     = 8
	lleViewPair        = 9 // GNU: the views of the next entry
)

// Entries of .debug_loc in split DWARF 4, a GNU extension.
const (
	lleGNUEnd         = 0
	lleGNUBase        = 1
	lleGNUStartEnd    = 2
	lleGNUStartLength = 3
)

// maxLocations bounds a location list.
const maxLocations = 1 << 13

// locationAt returns the expression that DW_AT_location has for an address:
// the only one, or that of a location list (DWARF 5, 2.6). It is nil where the
// variable is nowhere.
func (d *Data) locationAt(info *unitInfo, v value, addr uint64) []byte {
	switch {
	case v.class == classBlock:
		return v.block
	case v.class != classOffset && v.class != classList && v.class != classConstant:
		return nil
	case info.unit.version >= 5:
		return locationList5(info, v, addr)
	case info.unit.skeleton != 0:
		return locationListGNU(info, v, addr)
	}
	return locationList4(info, v, addr)
}

// locationList5 reads .debug_loclists (DWARF 5, 2.6.2).
func locationList5(info *unitInfo, v value, addr uint64) []byte {
	u := info.unit
	c := cursor{data: u.file.code().Loclists}
	if !c.seekList(v, info.loclistsBase, u) {
		return nil
	}
	size := int(u.addrSize)
	base := info.low
	for range maxLocations {
		var r Range
		switch c.u8() {
		case lleBaseAddressx:
			base = info.indexed(c.uleb())
			continue
		case lleBaseAddress:
			base = c.uint(size)
			continue
		case lleViewPair:
			c.skipLeb()
			c.skipLeb()
			continue
		case lleOffsetPair:
			r = Range{base + c.uleb(), base + c.uleb()}
		case lleStartxEndx:
			r = Range{info.indexed(c.uleb()), info.indexed(c.uleb())}
		case lleStartxLength:
			r.Low = info.indexed(c.uleb())
			r.High = r.Low + c.uleb()
		case lleStartEnd:
			r = Range{c.uint(size), c.uint(size)}
		case lleStartLength:
			r.Low = c.uint(size)
			r.High = r.Low + c.uleb()
		case lleDefaultLocation:
			r = Range{0, ^uint64(0)}
		default: // the end, or damage
			return nil
		}
		if expr := c.bytes(c.uleb()); r.contains(addr) || c.bad {
			return expr
		}
	}
	return nil
}

// locationList4 reads .debug_loc (DWARF 4, 2.6.2).
func locationList4(info *unitInfo, v value, addr uint64) []byte {
	u := info.unit
	c := cursor{data: u.file.code().Loc}
	c.skip(v.u)
	largest := ^uint64(0) >> (64 - 8*uint(u.addrSize))
	base := info.low
	for range maxLocations {
		low, high := c.uint(int(u.addrSize)), c.uint(int(u.addrSize))
		switch {
		case c.bad || low == 0 && high == 0:
			return nil
		case low == largest:
			base = high
			continue
		}
		expr := c.bytes(uint64(c.u16()))
		if (Range{base + low, base + high}).contains(addr) {
			return expr
		}
	}
	return nil
}

// locationListGNU reads .debug_loc.dwo of split DWARF 4.
func locationListGNU(info *unitInfo, v value, addr uint64) []byte {
	c := cursor{data: info.unit.file.code().Loc}
	c.skip(v.u)
	for range maxLocations {
		var r Range
		switch c.u8() {
		case lleGNUBase: // for offset pairs, which gcc does not write
			c.skipLeb()
			continue
		case lleGNUStartEnd:
			r = Range{info.indexed(c.uleb()), info.indexed(c.uleb())}
		case lleGNUStartLength:
			r.Low = info.indexed(c.uleb())
			r.High = r.Low + uint64(c.u32())
		default:
			return nil
		}
		if expr := c.bytes(uint64(c.u16())); r.contains(addr) || c.bad {
			return expr
		}
	}
	return nil
}
