package btf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/kmortem/mortem/kernel/ctype"
)

// BTF in which hundreds of thousands of declarations share one name, or lack a
// definition, is read in a moment: looking for each one's definition does not go
// through all the others.
func TestManyDeclarations(t *testing.T) {
	const many = 300_000
	for _, name := range []func(i int) string{
		func(int) string { return "everywhere" },
		func(i int) string { return fmt.Sprint("each", i) },
	} {
		b := newBuilder(nil)
		for i := range many {
			b.add(name(i), kindFwd, false, 0, 0)
		}
		b.add("last", kindStruct, false, 0, 8)
		types := mustParse(t, b.bytes(), nil)
		start := time.Now()
		n := 0
		for c := range types.All() {
			if n++; c.Incomplete != (n <= many) {
				t.Fatalf("type %d is %v", n, c)
			}
		}
		if took := time.Since(start); n != many+1 || took > 20*time.Second {
			t.Errorf("%d types in %v", n, took)
		}
	}
}

// Of several types of one name the first definition is found, wherever the
// declarations lie, and the first declaration where there is none.
func TestDefinitionFirst(t *testing.T) {
	b := newBuilder(nil)
	b.add("both", kindFwd, false, 0, 0)
	b.add("both", kindStruct, false, 0, 8)
	b.add("both", kindFwd, false, 0, 0)
	b.add("both", kindStruct, false, 0, 16)
	b.add("only", kindFwd, false, 0, 0)
	b.add("only", kindFwd, false, 0, 0)
	types := mustParse(t, b.bytes(), nil)
	if c := types.Type(ctype.Struct, "both"); c == nil || c.Size() != 8 {
		t.Errorf("struct both: %v", c)
	}
	if id, ok := types.find(classStruct, "only"); !ok || id != 5 {
		t.Errorf("struct only is type %d", id)
	}
}

// BTF of which one number is wrong, by values that mean something there, is refused or
// read without a panic, and without running on.
func TestOneNumberWrong(t *testing.T) {
	whole, err := os.ReadFile("../testdata/built/types.btf")
	if err != nil {
		t.Fatal(err)
	}
	base := mustParse(t, whole, nil)
	le := binary.LittleEndian
	n := 0
	for at := 4; at+4 <= len(whole); at += 4 {
		old := le.Uint32(whole[at:])
		for _, value := range []uint32{0, 1, 2, 0xff, 0xffff, 0xffffff, 1 << 31, 1<<32 - 1, old + 1, old - 1, old ^ 1<<31,
			old + 1<<24, old ^ 0x0f<<24, uint32(len(whole)), uint32(base.Len()), uint32(base.Len()) + 1} {
			if n++; testing.Short() && n%49 != 0 || n%7 != 0 {
				continue
			}
			wrong := bytes.Clone(whole)
			le.PutUint32(wrong[at:], value)
			if types, err := Parse(wrong); err == nil {
				walk(types)
			}
			if types, err := ParseSplit(wrong, base); err == nil {
				walk(types)
			}
		}
	}
}
