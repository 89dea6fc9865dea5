package dwarf

import (
	"cmp"
	"errors"
	"slices"
)

// Range is a range of addresses, as linked.
type Range struct {
	Low, High uint64 // from Low up to, but not including, High
}

func (r Range) contains(addr uint64) bool { return addr >= r.Low && addr < r.High }

// The bounds on the ranges of one function, block or unit, and on those of all
// together that one table is made of.
const (
	maxRanges    = 1 << 16
	maxAllRanges = 1 << 22
)

var errRanges = errors.New("address ranges are damaged")

// rangesOf returns the addresses of a unit, function or block: DW_AT_low_pc
// and DW_AT_high_pc, or DW_AT_ranges (DWARF 5, 2.17).
func (d *Data) rangesOf(info *unitInfo, e *die) ([]Range, error) {
	if v := e.ranges; v.class != classNone {
		if info.unit.version >= 5 {
			return d.rangeList5(info, v)
		}
		return rangeList4(info, v)
	}
	low, ok := info.address(e.lowPC)
	if !ok {
		return nil, nil
	}
	high, ok := info.address(e.highPC)
	if !ok {
		high = low + e.highPC.u // as a constant it is the length (DWARF 4)
	}
	if e.highPC.class == classNone || high <= low {
		return nil, nil
	}
	return []Range{{low, high}}, nil
}

// rangeList4 reads .debug_ranges (DWARF 4, 2.17.3).
func rangeList4(info *unitInfo, v value) ([]Range, error) {
	u := info.unit
	c := cursor{data: info.file.code().Ranges}
	c.skip(v.u + info.rangesBase)
	base := info.low
	largest := uint64(1)<<(8*u.addrSize) - 1
	if u.addrSize == 8 {
		largest = ^uint64(0)
	}
	var list []Range
	for len(list) < maxRanges {
		low, high := c.uint(int(u.addrSize)), c.uint(int(u.addrSize))
		switch {
		case c.bad:
			return list, errRanges
		case low == 0 && high == 0:
			return list, nil
		case low == largest:
			base = high
		case low < high:
			list = append(list, Range{base + low, base + high})
		}
	}
	return list, errRanges
}

// Entries of .debug_rnglists, DWARF 5, 7.25.
const (
	rleEnd          = 0
	rleBaseAddressx = 1
	rleStartxEndx   = 2
	rleStartxLength = 3
	rleOffsetPair   = 4
	rleBaseAddress  = 5
	rleStartEnd     = 6
	rleStartLength  = 7
)

// rangeList5 reads .debug_rnglists (DWARF 5, 2.17.3).
func (d *Data) rangeList5(info *unitInfo, v value) ([]Range, error) {
	u := info.unit
	c := cursor{data: u.file.code().Rnglists}
	if !c.seekList(v, info.rnglistsBase, u) {
		return nil, errRanges
	}
	base := info.low
	var list []Range
	for len(list) < maxRanges {
		var r Range
		switch op := c.u8(); {
		case c.bad:
			return list, errRanges
		case op == rleEnd:
			return list, nil
		case op == rleBaseAddressx:
			base = info.indexed(c.uleb())
			continue
		case op == rleBaseAddress:
			base = c.uint(int(u.addrSize))
			continue
		case op == rleOffsetPair:
			r = Range{base + c.uleb(), base + c.uleb()}
		case op == rleStartxEndx:
			r = Range{info.indexed(c.uleb()), info.indexed(c.uleb())}
		case op == rleStartxLength:
			r.Low = info.indexed(c.uleb())
			r.High = r.Low + c.uleb()
		case op == rleStartEnd:
			r = Range{c.uint(int(u.addrSize)), c.uint(int(u.addrSize))}
		case op == rleStartLength:
			r.Low = c.uint(int(u.addrSize))
			r.High = r.Low + c.uleb()
		default:
			return list, errRanges
		}
		if r.Low < r.High {
			list = append(list, r)
		}
	}
	return list, errRanges
}

// seekList goes to a list in .debug_rnglists or .debug_loclists: by its offset
// in the section, or by its number in the table that begins at base.
func (c *cursor) seekList(v value, base uint64, u *unit) bool {
	switch v.class {
	case classOffset, classConstant:
		c.skip(v.u)
	case classList:
		if v.u > uint64(len(c.data)) {
			return false
		}
		table := cursor{data: c.data}
		table.skip(base + v.u*uint64(u.offsetSize))
		offset := table.uint(int(u.offsetSize))
		if table.bad {
			return false
		}
		c.skip(base + offset)
	default:
		return false
	}
	return !c.bad
}

// unitRange is a range of code with the unit that it belongs to.
type unitRange struct {
	Range
	unit int // index into Data.units
}

// unitRanges makes the table from addresses to units: from .debug_aranges
// (DWARF 5, 6.1.2), and for units that it leaves out from their own ranges.
func (d *Data) unitRanges() []unitRange {
	d.rangesOnce.Do(func() {
		_ = d.guard(func() error {
			d.byAddr = d.findUnitRanges()
			return nil
		})
	})
	return d.byAddr
}

func (d *Data) findUnitRanges() []unitRange {
	starts := map[uint64]int{} // offsets in the main .debug_info
	for i := range d.units {
		if u := &d.units[i]; u.file == d.main && u.base == u.file.info {
			starts[u.start] = i
		}
	}
	covered := make([]bool, len(d.units))
	var list []unitRange
	readAranges(d.main.code().Aranges, func(unitOffset uint64, r Range) {
		if i, ok := starts[unitOffset]; ok {
			covered[i] = true
			list = append(list, unitRange{r, i})
		}
	})
	for i := range d.units {
		u := &d.units[i]
		if len(list) > maxAllRanges {
			break
		}
		if covered[i] || u.kind != utCompile && u.kind != utSkeleton {
			continue
		}
		info, err := d.unitInfo(u)
		if err != nil {
			continue
		}
		ranges, _ := d.rangesOf(info, &info.root)
		for _, r := range ranges {
			list = append(list, unitRange{r, i})
		}
	}
	slices.SortFunc(list, func(a, b unitRange) int { return cmp.Or(cmp.Compare(a.Low, b.Low), cmp.Compare(a.unit, b.unit)) })
	return list
}

// readAranges goes over the sets of .debug_aranges.
func readAranges(data []byte, visit func(unit uint64, r Range)) {
	for c := (cursor{data: data}); c.more(); {
		start := c.off
		length, size := uint64(c.u32()), 4
		if length == 0xffffffff {
			length, size = c.u64(), 8
		}
		if c.bad || length > uint64(len(data)-c.off) {
			return
		}
		set := cursor{data: data[:c.off+int(length)], off: c.off}
		c.off += int(length)
		set.u16() // version
		unit := set.uint(size)
		addr := int(set.u8())
		if set.u8() != 0 || addr != 4 && addr != 8 {
			continue
		}
		if over := (set.off - start) % (2 * addr); over != 0 {
			set.skip(uint64(2*addr - over))
		}
		for set.more() {
			low, n := set.uint(addr), set.uint(addr)
			if set.bad || low == 0 && n == 0 {
				break
			}
			if low+n > low {
				visit(unit, Range{low, low + n})
			}
		}
	}
}

// unitsAt calls visit with the units whose code covers an address, until it
// returns false.
func (d *Data) unitsAt(addr uint64, visit func(*unit) bool) {
	list := d.unitRanges()
	i, _ := slices.BinarySearchFunc(list, addr, func(r unitRange, addr uint64) int {
		if r.Low <= addr {
			return -1
		}
		return 1
	})
	for n := 0; i > 0 && n < 64; n++ { // ranges of units do not overlap, save by mistake
		i--
		if list[i].contains(addr) && !visit(&d.units[list[i].unit]) {
			return
		}
	}
}
