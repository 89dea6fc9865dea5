package dwarf

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
	"math/rand/v2"
)

// Store keeps encoded indexes between runs, under names of its choice that
// belong to exactly these sections. What it returns is checked, and made again
// where it is damaged.
type Store interface {
	// Load returns the index of a kind ("names" or "constants"), nil where
	// there is none. The bytes are used as long as the Data are.
	Load(kind string) []byte
	// Save keeps an index. It may fail in silence.
	Save(kind string, data []byte)
}

// The layout of an encoded index, all numbers little-endian. Places count from
// firstPlace over all sections, in the order in which they are given.
//
//	 0  "mortIDX" and the version
//	 8  CRC-32C of what follows
//	12  number of units
//	16  number of entries
//	20  number of slots, a power of 2
//	24  what the hash begins with
//	32  places that are in use, a check that the sections are the same
//	40  units, 64 bytes each
//	..  entries, 16 bytes each: kind<<56|place of the name, quality<<56|place of the DIE
//	..  slots, 4 bytes each: 8 bits of the hash, then the number of the entry plus one
const (
	indexMagic   = "mortIDX\x01"
	indexHeader  = 40
	unitRecord   = 64
	entryRecord  = 16
	slotRecord   = 4
	maxInIndex   = 1<<24 - 2
	placeMask    = 1<<56 - 1
	slotMask     = 1<<24 - 1
	indexRawFrom = 12 // the checksum covers what follows
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stableHash is FNV-1a in 64 bits, with a beginning that differs from file to
// file.
func stableHash[S string | []byte](start uint64, kind nameKind, name S) uint64 {
	h := (start ^ uint64(kind)) * 1099511628211
	for i := 0; i < len(name); i++ {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h ^ h>>29
}

// encodeIndex encodes names and, where they are given, units; nil for what the
// format has no room for.
func (d *Data) encodeIndex(n nameTable, units []unit) []byte {
	if n.size() > maxInIndex {
		return nil
	}
	slots := 16
	for slots < 2*n.size() {
		slots *= 2
	}
	le := binary.LittleEndian
	start := rand.Uint64()
	out := make([]byte, indexHeader, indexHeader+unitRecord*len(units)+entryRecord*n.size()+slotRecord*slots)
	copy(out, indexMagic)
	le.PutUint32(out[12:], uint32(len(units)))
	le.PutUint32(out[16:], uint32(n.size()))
	le.PutUint32(out[20:], uint32(slots))
	le.PutUint64(out[24:], start)
	le.PutUint64(out[32:], uint64(d.space.next))
	for i := range units {
		out = d.appendUnit(out, &units[i])
	}
	hashes := make([]uint64, 0, n.size())
	for e := range n.all() {
		out = le.AppendUint64(out, uint64(e.kind)<<56|uint64(e.name))
		out = le.AppendUint64(out, uint64(e.quality)<<56|uint64(e.die))
		hashes = append(hashes, stableHash(start, e.kind, d.space.name(e.name)))
	}
	out = append(out, fillSlots(hashes, slots)...)
	le.PutUint32(out[8:], crc32.Checksum(out[indexRawFrom:], castagnoli))
	return out
}

func fillSlots(hashes []uint64, slots int) []byte {
	le := binary.LittleEndian
	out := make([]byte, slotRecord*slots)
	for i, h := range hashes {
		at := int(h) & (slots - 1)
		for le.Uint32(out[slotRecord*at:]) != 0 {
			at = (at + 1) & (slots - 1)
		}
		le.PutUint32(out[slotRecord*at:], uint32(h>>56)<<24|uint32(i+1))
	}
	return out
}

func (d *Data) appendUnit(out []byte, u *unit) []byte {
	le := binary.LittleEndian
	section := byte(0)
	for i, f := range d.files {
		if f == u.file {
			section = byte(2 * i)
		}
	}
	if u.base == u.file.types {
		section++
	}
	out = append(out, section, u.version, u.addrSize, u.offsetSize, u.kind, 0)
	out = le.AppendUint16(out, u.language)
	for _, n := range []uint64{u.start, uint64(len(u.data)), u.die, u.abbrev, u.signature, u.typeOffset, u.strOffsets} {
		out = le.AppendUint64(out, n)
	}
	return out
}

// indexed is a table of names in an encoded index.
type indexed struct {
	space   *space
	start   uint64
	units   []byte
	entries []byte
	slots   []byte
}

// openIndex checks an encoded index, nil for one that is damaged or belongs to
// other sections.
func (d *Data) openIndex(data []byte) *indexed {
	le := binary.LittleEndian
	if len(data) < indexHeader || string(data[:8]) != indexMagic || le.Uint64(data[32:]) != uint64(d.space.next) {
		return nil
	}
	units, entries, slots := uint64(le.Uint32(data[12:])), uint64(le.Uint32(data[16:])), uint64(le.Uint32(data[20:]))
	if slots == 0 || slots&(slots-1) != 0 || slots <= entries ||
		uint64(len(data)) != indexHeader+unitRecord*units+entryRecord*entries+slotRecord*slots {
		return nil
	}
	if le.Uint32(data[8:]) != crc32.Checksum(data[indexRawFrom:], castagnoli) {
		return nil
	}
	x := &indexed{space: &d.space, start: le.Uint64(data[24:])}
	rest := data[indexHeader:]
	x.units, rest = rest[:unitRecord*units], rest[unitRecord*units:]
	x.entries, x.slots = rest[:entryRecord*entries], rest[entryRecord*entries:]
	return x
}

// load takes the units of an index, and tells whether they fit the sections.
func (d *Data) load(x *indexed) bool {
	list := make([]unit, 0, len(x.units)/unitRecord)
	for at := 0; at < len(x.units); at += unitRecord {
		u, ok := d.decodeUnit(x.units[at : at+unitRecord])
		if !ok || len(list) > 0 && u.place(int(u.start)) < list[len(list)-1].end() {
			return false
		}
		list = append(list, u)
	}
	d.units = list
	return len(list) > 0
}

func (d *Data) decodeUnit(r []byte) (unit, bool) {
	le := binary.LittleEndian
	if int(r[0]/2) >= len(d.files) {
		return unit{}, false
	}
	f := d.files[r[0]/2]
	u := unit{
		file: f, base: f.info, version: r[1], addrSize: r[2], offsetSize: r[3], kind: r[4], language: le.Uint16(r[6:]),
		start: le.Uint64(r[8:]), die: le.Uint64(r[24:]), abbrev: le.Uint64(r[32:]),
		signature: le.Uint64(r[40:]), typeOffset: le.Uint64(r[48:]), strOffsets: le.Uint64(r[56:]),
	}
	section, end := f.Info, le.Uint64(r[16:])
	if r[0]%2 == 1 {
		u.base, section = f.types, f.Types
	}
	if end > uint64(len(section)) || u.start > u.die || u.die > end || u.addrSize != 4 && u.addrSize != 8 || u.offsetSize != 4 && u.offsetSize != 8 {
		return unit{}, false
	}
	u.data = section[:end:end]
	return u, true
}

func (x *indexed) size() int { return len(x.entries) / entryRecord }

func (x *indexed) at(i int) entry {
	r := x.entries[entryRecord*i:]
	name, die := binary.LittleEndian.Uint64(r), binary.LittleEndian.Uint64(r[8:])
	return entry{name: place(name & placeMask), die: place(die & placeMask), kind: nameKind(name >> 56), quality: quality(die >> 56)}
}

func (x *indexed) all() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		for i := range x.size() {
			if !yield(x.at(i)) {
				return
			}
		}
	}
}

func (x *indexed) lookup(kind nameKind, name string) (entry, bool) {
	h := stableHash(x.start, kind, name)
	slots := len(x.slots) / slotRecord
	at := int(h) & (slots - 1)
	for range slots { // a forged index may have no free slot
		slot := binary.LittleEndian.Uint32(x.slots[slotRecord*at:])
		i := int(slot&slotMask) - 1
		if i < 0 || i >= x.size() {
			return entry{}, false
		}
		if slot>>24 == uint32(h>>56) {
			if e := x.at(i); e.kind == kind && string(x.space.name(e.name)) == name {
				return e, true
			}
		}
		at = (at + 1) & (slots - 1)
	}
	return entry{}, false
}
