package btf

import (
	"fmt"
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
