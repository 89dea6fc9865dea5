package btf

import "encoding/binary"

// kind is the kind of a record, BTF_KIND_… in include/uapi/linux/btf.h.
type kind uint8

const (
	kindInt       kind = 1
	kindPtr       kind = 2
	kindArray     kind = 3
	kindStruct    kind = 4
	kindUnion     kind = 5
	kindEnum      kind = 6
	kindFwd       kind = 7
	kindTypedef   kind = 8
	kindVolatile  kind = 9
	kindConst     kind = 10
	kindRestrict  kind = 11
	kindFunc      kind = 12
	kindFuncProto kind = 13
	kindVar       kind = 14 // since 5.2
	kindDatasec   kind = 15 // since 5.2
	kindFloat     kind = 16 // since 5.13
	kindDeclTag   kind = 17 // since 5.16
	kindTypeTag   kind = 18 // since 5.17
	kindEnum64    kind = 19 // since 6.0
	kindCount          = 20
)

// shape is what follows the 12 bytes that records of a kind have in common: so
// many bytes, and so many for each element.
type shape struct{ fixed, element uint8 }

var shapes = [kindCount]shape{
	kindInt: {4, 0}, kindArray: {12, 0}, kindStruct: {0, 12}, kindUnion: {0, 12}, kindEnum: {0, 8},
	kindFuncProto: {0, 8}, kindVar: {4, 0}, kindDatasec: {0, 12}, kindDeclTag: {4, 0}, kindEnum64: {0, 12},
}

// records are the types as they lie in the type section, by number.
type records struct {
	data    []byte
	offsets []uint32
}

// record is one type.
type record struct {
	name uint32 // offset of a string
	kind kind
	flag bool   // kind_flag
	n    int    // number of elements
	size uint32 // bytes, or the number of the type that this one is made of
	rest []byte // the fixed bytes and the elements
}

const recordSize = 12

func (r *records) count() int { return len(r.offsets) }

// scan finds where each record begins. The kinds that came after this was
// written can be passed over where the layout section tells their sizes.
func (r *records) scan(data, layout []byte) error {
	if uint64(len(data)) > 1<<32-1 {
		return damaged("its types have more bytes than offsets")
	}
	r.data = data
	r.offsets = make([]uint32, 0, len(data)/20)
	for at := 0; at < len(data); {
		if len(data)-at < recordSize {
			return damaged("type %d is cut short", r.count()+1)
		}
		info := binary.LittleEndian.Uint32(data[at+4:])
		s, ok := shapeOf(kind(info>>24&0x7f), layout)
		if !ok {
			return damaged("type %d is of kind %d, which is not known", r.count()+1, info>>24&0x7f)
		}
		size := recordSize + int(s.fixed) + int(s.element)*int(info&0xffffff)
		if size > len(data)-at {
			return damaged("type %d goes beyond the end", r.count()+1)
		}
		r.offsets = append(r.offsets, uint32(at))
		at += size
	}
	return nil
}

// shapeOf returns the shape of a kind. struct btf_layout has the two sizes and
// two bytes of flags.
func shapeOf(k kind, layout []byte) (shape, bool) {
	if k > 0 && k < kindCount {
		return shapes[k], true
	}
	if at := 4 * int(k); k > 0 && at+4 <= len(layout) {
		return shape{layout[at], layout[at+1]}, true
	}
	return shape{}, false
}

// at reads the i-th record.
func (r *records) at(i int) record {
	end := uint32(len(r.data))
	if i+1 < len(r.offsets) {
		end = r.offsets[i+1]
	}
	b := r.data[r.offsets[i]:end]
	info := binary.LittleEndian.Uint32(b[4:])
	return record{
		name: binary.LittleEndian.Uint32(b),
		kind: kind(info >> 24 & 0x7f),
		flag: info>>31 != 0,
		n:    int(info & 0xffffff), // 16 bits until 7.0, and the others 0
		size: binary.LittleEndian.Uint32(b[8:]),
		rest: b[recordSize:],
	}
}

// u32 reads the i-th number behind the common bytes.
func (r *record) u32(i int) uint32 { return binary.LittleEndian.Uint32(r.rest[4*i:]) }

// record reads a type by number, of the base too; the zero record, which is
// void, for numbers that no type has.
func (t *Types) record(id uint32) record {
	for t != nil && id != 0 {
		if id >= t.first {
			if id >= t.end() {
				break
			}
			return t.records.at(int(id - t.first))
		}
		t = t.base
	}
	return record{}
}
