package dwarf

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
)

// Abbreviations of a unit, of a struct with and without a name, and of a member.
var nestedAbbrevs = []byte{
	1, tagCompileUnit, 1, 0, 0,
	2, tagStructureType, 1, attrName, formString, attrByteSize, formData1, 0, 0,
	3, tagStructureType, 1, attrByteSize, formData1, 0, 0,
	4, tagMember, 0, attrType, formRef4, 0, 0,
	0,
}

// nestedStructs is a unit with a struct "outer" that has a struct as its member, which has
// one, and so on for so many levels. No sibling is named, as clang does it.
func nestedStructs(levels int) []byte {
	le := binary.LittleEndian
	unit := []byte{0, 0, 0, 0, 5, 0, utCompile, 8, 0, 0, 0, 0, 1}
	starts := make([]int, levels)
	for i := range starts {
		starts[i] = len(unit)
		if i == 0 {
			unit = append(unit, 2, 'o', 'u', 't', 'e', 'r', 0, 8)
		} else {
			unit = append(unit, 3, 8)
		}
	}
	for i := levels - 1; i >= 0; i-- {
		unit = append(unit, 0) // the end of struct i
		if i > 0 {
			unit = le.AppendUint32(append(unit, 4), uint32(starts[i])) // the member of struct i-1
		}
	}
	unit = append(unit, 0)
	le.PutUint32(unit, uint32(len(unit)-4))
	return unit
}

// TestDeepNesting: structs nested as deep as any compiler does it are all decoded; of those
// that nest deeper, on purpose, none is gone into.
func TestDeepNesting(t *testing.T) {
	for _, levels := range []int{2, maxNesting, 300_000} {
		d, err := New(Sections{File: "nested", Info: nestedStructs(levels), Abbrev: nestedAbbrevs}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := d.Type(ctype.Struct, "outer")
		if s == nil {
			t.Fatalf("%d levels: no struct outer", levels)
		}
		seen := 1
		for ; len(s.Members()) == 1; seen++ {
			s = s.Members()[0].Type
		}
		if levels <= maxNesting {
			if seen != levels || s.Body().Err != nil {
				t.Errorf("%d of %d levels were seen: %v", seen, levels, s.Body().Err)
			}
			continue
		}
		if seen != 1 || s.Body().Err == nil || !strings.Contains(s.Body().Err.Error(), "nested deeper") {
			t.Errorf("%d of %d levels were seen: %v", seen, levels, s.Body().Err)
		}
	}
}
