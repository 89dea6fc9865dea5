package btf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
)

// builder writes BTF.
type builder struct {
	types, strings bytes.Buffer
	start          uint32 // offset of the first string
	id             uint32
}

func newBuilder(base *Types) *builder {
	b := &builder{}
	if base != nil {
		b.start, b.id = base.strings.start()+uint32(len(base.strings.text)), base.end()-1
	}
	b.strings.WriteByte(0)
	return b
}

func (b *builder) name(s string) uint32 {
	if s == "" {
		return 0
	}
	off := b.start + uint32(b.strings.Len())
	b.strings.WriteString(s + "\x00")
	return off
}

// add writes a type and returns its number.
func (b *builder) add(name string, k kind, flag bool, n int, size uint32, rest ...uint32) uint32 {
	info := uint32(k)<<24 | uint32(n)
	if flag {
		info |= 1 << 31
	}
	for _, v := range append([]uint32{b.name(name), info, size}, rest...) {
		b.types.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	b.id++
	return b.id
}

func (b *builder) bytes(layout ...byte) []byte {
	head := []byte{0x9f, 0xeb, 1, 0}
	types, strings := uint32(b.types.Len()), uint32(b.strings.Len())
	for _, v := range []uint32{32, 0, types, types + uint32(len(layout)), strings, types, uint32(len(layout))} {
		head = binary.LittleEndian.AppendUint32(head, v)
	}
	return append(append(append(head, b.types.Bytes()...), layout...), b.strings.Bytes()...)
}

func mustParse(t testing.TB, raw []byte, base *Types) *Types {
	t.Helper()
	types, err := ParseSplit(raw, base)
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// kernelTypes is BTF with what test data made by pahole does not have.
func kernelTypes(t testing.TB) *Types {
	b := newBuilder(nil)
	number := b.add("int", kindInt, false, 0, 4, 1<<24|32)
	three := b.add("", kindInt, false, 0, 4, 3)
	b.add("old", kindStruct, false, 2, 8, b.name("a"), number, 0, b.name("b"), three, 37)
	b.add("tree", kindFwd, false, 0, 0)
	declared := b.id
	tagged := b.add("rcu", kindTypeTag, false, 0, declared)
	b.add("", kindPtr, false, 0, tagged)
	pointer := b.id
	b.add("root", kindStruct, true, 1, 8, b.name("top"), pointer, 0)
	b.add("tree", kindStruct, true, 1, 8, b.name("left"), pointer, 0)
	b.add("late", kindEnum, false, 2, 4, b.name("MINUS"), ^uint32(0), b.name("PLUS"), 1)
	proto := b.add("", kindFuncProto, false, 2, number, b.name("fmt"), pointer, 0, 0)
	b.add("print", kindFunc, false, 1, proto)
	b.add("cpu_number", kindVar, false, 0, number, 1)
	b.add("note", kindDeclTag, false, 0, b.id, ^uint32(0))
	b.add("big", kindEnum64, false, 1, 8, b.name("HUGE"), 5, 1<<31)
	b.add("forward", kindEnum, false, 0, 4)
	return mustParse(t, b.bytes(), nil)
}

func TestKinds(t *testing.T) {
	types := kernelTypes(t)
	old := types.Type(ctype.Struct, "old")
	if m, _, ok := old.Member("b"); !ok || m.Offset != 4 || m.BitOffset != 5 || m.BitSize != 3 {
		t.Errorf("bit-field of the old form: %+v", m)
	}
	root := types.Type(ctype.Struct, "root")
	if m, _, _ := root.Member("top"); m.Type.Elem() != types.Type(ctype.Struct, "tree") || m.Type.Elem().Incomplete {
		t.Errorf("a declaration behind a tag leads to %v", m.Type.Elem())
	}
	for name, want := range map[string]int64{"MINUS": -1, "PLUS": 1, "HUGE": 5 - 1<<63} {
		if v, enum, ok := types.Enumerator(name); !ok || v != want || enum.Kind != ctype.Enum {
			t.Errorf("%s is %d", name, v)
		}
	}
	if f := types.Function("print").Declare("print"); f != "int print(struct tree *fmt, ...)" {
		t.Errorf("function: %s", f)
	}
	if v := types.Variable("cpu_number"); v == nil || v.Name != "int" {
		t.Errorf("variable: %v", v)
	}
	if e := types.Type(ctype.Enum, "forward"); !e.Incomplete {
		t.Error("an enum without constants is complete")
	}
	if types.Type(ctype.Union, "tree") != nil || types.Function("cpu_number") != nil || types.Type(ctype.Typedef, "") != nil {
		t.Error("names of one class are found in another")
	}
}

func TestSplit(t *testing.T) {
	base := kernelTypes(t)
	tree, _ := base.find(classStruct, "tree")
	b := newBuilder(base)
	b.add("mine", kindStruct, true, 1, 8, b.name("inner"), tree, 0)
	b.add("tree", kindFwd, false, 0, 0)
	b.add("", kindPtr, false, 0, b.id)
	b.add("named", kindTypedef, false, 0, b.id)
	b.add("own", kindEnum, true, 1, 4, b.name("OWN"), ^uint32(1))
	types := mustParse(t, b.bytes(), base)
	mine := types.Type(ctype.Struct, "mine")
	if m, _, ok := mine.Member("inner"); !ok || m.Type != base.Type(ctype.Struct, "tree") {
		t.Errorf("member of a type of the base: %+v", m)
	}
	if named := types.Type(ctype.Typedef, "named"); named.Elem().Elem() != base.Type(ctype.Struct, "tree") {
		t.Errorf("a declaration is not resolved in the base: %v", named.Elem())
	}
	if types.Type(ctype.Struct, "root") == nil || base.Type(ctype.Struct, "mine") != nil {
		t.Error("types are looked for in the wrong place")
	}
	for name, want := range map[string]int64{"OWN": -2, "PLUS": 1} {
		if v, _, ok := types.Enumerator(name); !ok || v != want {
			t.Errorf("%s is %d", name, v)
		}
	}
}

// TestUnknownKinds passes over a kind that only the layout section describes.
func TestUnknownKinds(t *testing.T) {
	b := newBuilder(nil)
	b.add("strange", kindCount+2, false, 3, 0, 1, 2, 3, 4)
	b.add("int", kindInt, false, 0, 4, 1<<24|32)
	layout := make([]byte, 4*(kindCount+3))
	layout[4*(kindCount+2)], layout[4*(kindCount+2)+1] = 4, 4
	if types := mustParse(t, b.bytes(layout...), nil); types.Type(ctype.Typedef, "int") == nil {
		t.Error("the type behind it is lost")
	}
	if _, err := Parse(b.bytes()); !errors.Is(err, ErrDamaged) {
		t.Errorf("without a layout: %v", err)
	}
}

func TestNotBTF(t *testing.T) {
	for _, raw := range [][]byte{nil, make([]byte, 100), []byte("\x9f\xeb\x02\x00\x18\x00\x00\x00                ")} {
		if _, err := Parse(raw); !errors.Is(err, ErrNoBTF) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// TestManyReaders decodes the same types from several goroutines: each gets the
// same ones.
func TestManyReaders(t *testing.T) {
	raw, err := os.ReadFile("../testdata/built/types.btf")
	if err != nil {
		t.Fatal(err)
	}
	types := mustParse(t, raw, nil)
	var wg sync.WaitGroup
	var met [4]*ctype.Type
	for i := range met {
		wg.Go(func() {
			walk(types)
			met[i] = types.Type(ctype.Struct, "everything")
		})
	}
	wg.Wait()
	for _, c := range met {
		if c != met[0] || c == nil {
			t.Error("one type was made twice")
		}
	}
}

// walk decodes all that there is.
func walk(types *Types) {
	for id := range types.end() {
		c := types.at(id)
		_, _ = c.String(), c.Size()
		for _, m := range c.Members() {
			_, _ = m.Type.Size(), m.Type.String()
		}
		for _, e := range c.Enumerators() {
			_, _, _ = types.Enumerator(e.Name)
		}
		_, _ = c.Field("a.b")
	}
}

func FuzzParse(f *testing.F) {
	raw, err := os.ReadFile("../testdata/built/types.btf")
	if err != nil {
		f.Fatal(err)
	}
	base := mustParse(f, raw, nil)
	f.Add(raw)
	b := newBuilder(base)
	b.add("mine", kindStruct, true, 1, 8, b.name("inner"), 3, 0)
	f.Add(b.bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if types, err := Parse(raw); err == nil {
			walk(types)
		}
		if types, err := ParseSplit(raw, base); err == nil {
			walk(types)
		}
	})
}
