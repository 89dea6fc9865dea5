package kallsyms

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

// form is how the addresses are written (CONFIG_KALLSYMS_BASE_RELATIVE,
// CONFIG_KALLSYMS_ABSOLUTE_PERCPU; kallsyms_sym_address in kernel/kallsyms.c).
type form uint8

const (
	// absolute: kallsyms_addresses has 64 bits for each, all there was
	// before 4.6.
	absolute form = iota
	// percpuRelative: kallsyms_offsets has 32 bits for each; a negative
	// number is the distance below kallsyms_relative_base less one, others
	// are per-CPU offsets. x86-64 from 4.6 to 6.14.
	percpuRelative
	// baseRelative: they are unsigned and count from kallsyms_relative_base.
	baseRelative
	// placeRelative: they are signed and count from their own place, since 7.0.
	placeRelative
)

func (f form) width() uint64 {
	if f == absolute {
		return 8
	}
	return 4
}

// layout is a place where the addresses may be, and in which form.
type layout struct {
	form  form
	table uint64 // virtual address of kallsyms_addresses or kallsyms_offsets
	base  uint64 // virtual address of kallsyms_relative_base, where the form has it
}

// addresses gives the symbols their addresses, by the first layout that is
// sound. The runtime address stext of _stext, which VMCOREINFO has, is proof;
// without it (0) the addresses must ascend.
func (t *tables) addresses(mem Memory, list []debuginfo.Symbol, stext uint64) error {
	proof := -1
	for i := range list {
		if list[i].Name == "_stext" && stext != 0 {
			proof = i
			break
		}
	}
	var failure error
	for _, l := range t.layouts {
		raw, base, err := l.read(mem, len(list))
		if err != nil {
			failure = fmt.Errorf("addresses of kallsyms: %w", err)
			continue
		}
		at := func(i int) uint64 { return l.at(raw, base, i) }
		if proof >= 0 && at(proof) != stext || proof < 0 && !ascending(at, len(list)) {
			continue
		}
		for i := range list {
			list[i].Addr = at(i)
		}
		return nil
	}
	if failure != nil {
		return failure
	}
	return damaged("in no known form are its addresses right")
}

// read reads the numbers, and the base that they count from.
func (l *layout) read(mem Memory, n int) (raw []byte, base uint64, err error) {
	if raw, err = readAll(mem, l.table, uint64(n)*l.form.width()); err != nil {
		return nil, 0, err
	}
	if l.base != 0 {
		var buf [8]byte
		if _, err := mem.Read(buf[:], l.base); err != nil {
			return nil, 0, err
		}
		base = binary.LittleEndian.Uint64(buf[:])
	}
	return raw, base, nil
}

// at is the runtime address of the i-th symbol.
func (l *layout) at(raw []byte, base uint64, i int) uint64 {
	if l.form == absolute {
		return binary.LittleEndian.Uint64(raw[8*i:])
	}
	n := binary.LittleEndian.Uint32(raw[4*i:])
	signed := uint64(int64(int32(n)))
	switch {
	case l.form == placeRelative:
		return l.table + uint64(4*i) + signed
	case l.form == baseRelative:
		return base + uint64(n)
	case int32(n) >= 0:
		return uint64(n)
	}
	return base - 1 - signed
}

// ascending tells whether the addresses are in the order of the table, and
// most of them kernel addresses.
func ascending(at func(i int) uint64, n int) bool {
	kernel := 0
	for i := range n {
		if i > 0 && at(i) < at(i-1) {
			return false
		}
		if at(i) >= lowest {
			kernel++
		}
	}
	return kernel > n/2
}
