package unwind

import (
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
)

// orcType is a struct orc_entry with bit-fields of the third word, given by name
// and width in order.
func orcType(fields ...any) *ctype.Type {
	word := &ctype.Type{Kind: ctype.Int, Name: "unsigned int", Bytes: 4}
	var members []ctype.Member
	bit := int64(32)
	for i := 0; i < len(fields); i += 2 {
		width := fields[i+1].(int)
		members = append(members, ctype.MemberAt(fields[i].(string), word, bit, uint8(width)))
		bit += int64(width)
	}
	return ctype.Lazy(&ctype.Type{Kind: ctype.Struct, Name: "orc_entry", Bytes: orcEntrySize}, func() ctype.Body { return ctype.Body{Members: members} })
}

// TestORCForms decodes the same rules in the forms of the releases: as of 4.14, of
// 4.18 with an end bit, of 6.3 with a signal bit before it, and of 6.4.
func TestORCForms(t *testing.T) {
	const sp, prev = orcRegSP, orcRegPrevSP << 4
	for _, tc := range []struct {
		name   string
		typ    *ctype.Type
		bits   uint16
		kind   orcKind
		signal bool
	}{
		{"4.14 call", orcType("sp_reg", 4, "bp_reg", 4, "type", 2), sp | prev, orcCall, false},
		{"4.14 end", orcType("sp_reg", 4, "bp_reg", 4, "type", 2), 0, orcEnd, false},
		{"4.18 registers", orcType("sp_reg", 4, "bp_reg", 4, "type", 2, "end", 1), sp | 1<<8, orcRegs, true},
		{"4.18 end", orcType("sp_reg", 4, "bp_reg", 4, "type", 2, "end", 1), 1 << 10, orcEnd, false},
		{"4.18 undefined", orcType("sp_reg", 4, "bp_reg", 4, "type", 2, "end", 1), 0, orcUndefined, false},
		{"6.3 interrupt frame", orcType("sp_reg", 4, "bp_reg", 4, "type", 2, "signal", 1, "end", 1), sp | 2<<8 | 1<<10, orcIret, true},
		{"6.3 end", orcType("sp_reg", 4, "bp_reg", 4, "type", 2, "signal", 1, "end", 1), 1 << 11, orcEnd, false},
		{"6.4 undefined", orcType("sp_reg", 4, "bp_reg", 4, "type", 3, "signal", 1), 0, orcUndefined, false},
		{"6.4 end", orcType("sp_reg", 4, "bp_reg", 4, "type", 3, "signal", 1), 1 << 8, orcEnd, false},
		{"6.4 call", orcType("sp_reg", 4, "bp_reg", 4, "type", 3, "signal", 1), sp | prev | 2<<8, orcCall, false},
		{"6.4 registers", orcType("sp_reg", 4, "bp_reg", 4, "type", 3, "signal", 1), sp | 3<<8 | 1<<11, orcRegs, true},
		{"6.4 interrupt frame", orcType("sp_reg", 4, "bp_reg", 4, "type", 3, "signal", 1), sp | 4<<8 | 1<<11, orcIret, true},
		{"unreadable", orcType("sp_reg", 4, "bp_reg", 4, "type", 3, "signal", 1), orcUnreadable, orcBad, false},
	} {
		form, err := orcFormOf(tc.typ)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		r := form.decode(orcEntry{spOffset: 16, bpOffset: -16, bits: tc.bits})
		if r.kind != tc.kind || r.signal != tc.signal || r.spOffset != 16 || r.bpOffset != -16 || r.kind == orcCall && (r.spReg != orcRegSP || r.bpReg != orcRegPrevSP) {
			t.Errorf("%s: %+v", tc.name, r)
		}
	}
	if _, err := orcFormOf(orcType("sp_reg", 4, "bp_reg", 4, "type", 5)); err == nil {
		t.Error("a type of 5 bits was taken")
	}
}

// TestORCNumbers: the numbers of registers as Debian's 6.12 and 7.2 have them,
// with the entries that are most frequent there.
func TestORCNumbers(t *testing.T) {
	typ := orcType("sp_reg", 4, "bp_reg", 4, "type", 3, "signal", 1)
	for _, tc := range []struct {
		name  string
		table []uint16
		bits  uint16
		sp    uint8
		bp    uint8
	}{
		{"6.12", []uint16{0x205, 0x215, 0, 0x214, 0xb05, 0xc02, orcUnreadable}, 0x248, orcRegBPIndirect, orcRegBP},
		{"7.2", []uint16{0x203, 0x283, 0, 0x284, 0xb03, 0xc02, orcUnreadable}, 0x24a, orcRegBPIndirect, orcRegBP},
		{"7.2", []uint16{0x203, 0x283, 0}, 0x289, orcRegSPIndirect, orcRegPrevSP},
		{"7.2", []uint16{0x203, 0x283, 0}, 0x283, orcRegSP, orcRegPrevSP},
		{"7.2", []uint16{0x203, 0x283, 0}, 0xc02, orcRegDX, orcRegUndefined},
	} {
		form, err := orcFormOf(typ)
		if err != nil {
			t.Fatal(err)
		}
		var entries []orcEntry
		for _, b := range tc.table {
			entries = append(entries, orcEntry{bits: b})
		}
		form.regs = orcRegsOf(entries)
		if r := form.decode(orcEntry{bits: tc.bits}); r.spReg != tc.sp || r.bpReg != tc.bp {
			t.Errorf("%s: %#x is %+v", tc.name, tc.bits, r)
		}
	}
}
