package ctype_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	. "github.com/kmortem/mortem/kernel/ctype"
)

func of(kind Kind, elem *Type) *Type {
	return Lazy(&Type{Kind: kind, Bytes: map[Kind]int64{Pointer: 8}[kind]}, func() Body { return Body{Elem: elem} })
}

func array(n int64, elem *Type) *Type {
	return Lazy(&Type{Kind: Array, Count: n}, func() Body { return Body{Elem: elem} })
}

func function(result *Type, variadic bool, params ...*Type) *Type {
	return Lazy(&Type{Kind: Func, Variadic: variadic}, func() Body {
		b := Body{Elem: result}
		for _, p := range params {
			b.Params = append(b.Params, Param{Type: p})
		}
		return b
	})
}

func structure(name string, size int64, members ...Member) *Type {
	return Lazy(&Type{Kind: Struct, Name: name, Bytes: size}, func() Body { return Body{Members: members} })
}

func union(name string, size int64, members ...Member) *Type {
	t := structure(name, size, members...)
	u := &Type{Kind: Union, Name: name, Bytes: size}
	return Lazy(u, func() Body { return *t.Body() })
}

func typedef(name string, to *Type) *Type {
	return Lazy(&Type{Kind: Typedef, Name: name}, func() Body { return Body{Elem: to} })
}

var (
	char  = &Type{Kind: Int, Name: "char", Bytes: 1, Signed: true, Encoding: Char}
	num   = &Type{Kind: Int, Name: "int", Bytes: 4, Signed: true}
	u64   = typedef("u64", &Type{Kind: Int, Name: "long long unsigned int", Bytes: 8})
	node  = structure("list_head", 16, Member{Name: "next", Type: of(Pointer, num)}, Member{Name: "prev", Offset: 8, Type: of(Pointer, num)})
	inner = structure("", 8, Member{Name: "low", Type: num}, Member{Name: "high", Offset: 4, Type: num})
)

// As a C programmer writes them; cdecl agrees.
func TestDeclare(t *testing.T) {
	for want, typ := range map[string]*Type{
		"int x":                        num,
		"char x[16]":                   array(16, char),
		"char x[]":                     array(-1, char),
		"int x[3][5]":                  array(3, array(5, num)),
		"struct list_head *x":          of(Pointer, node),
		"const char *x":                of(Pointer, of(Const, char)),
		"char *const x":                of(Const, of(Pointer, char)),
		"const char *const x[4]":       array(4, of(Const, of(Pointer, of(Const, char)))),
		"char (*x)[16]":                of(Pointer, array(16, char)),
		"char *x[16]":                  array(16, of(Pointer, char)),
		"int (*x)(void)":               of(Pointer, function(num, false)),
		"void (*x)(int, char *)":       of(Pointer, function(VoidType, false, num, of(Pointer, char))),
		"int (*x)(const char *, ...)":  of(Pointer, function(num, true, of(Pointer, of(Const, char)))),
		"int (*x[2])(void)":            array(2, of(Pointer, function(num, false))),
		"char *(*x)(void)":             of(Pointer, function(of(Pointer, char), false)),
		"int (*(*x)(void))(u64)":       of(Pointer, function(of(Pointer, function(num, false, u64)), false)),
		"volatile int x":               of(Volatile, num),
		"const volatile u64 x":         of(Const, of(Volatile, u64)),
		"void *x":                      of(Pointer, VoidType),
		"struct {...} x":               inner,
		"int (*const volatile x)(int)": of(Const, of(Volatile, of(Pointer, function(num, false, num)))),
	} {
		if got := typ.Declare("x"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got, want := of(Pointer, function(num, false, of(Pointer, char))).String(), "int (*)(char *)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		t    *Type
		want int64
	}{
		{num, 4}, {u64, 8}, {array(3, array(5, num)), 60}, {array(-1, num), 0}, {array(0, num), 0}, {of(Const, array(2, u64)), 16},
		{VoidType, 0}, {function(num, false), 0}, {node, 16}, {&Type{Kind: Struct, Incomplete: true}, 0}, {array(1<<60, u64), 0},
	} {
		if got := c.t.Size(); got != c.want {
			t.Errorf("sizeof(%s) = %d, want %d", c.t, got, c.want)
		}
	}
}

var sample = structure("sample", 96,
	Member{Name: "list", Type: node},
	Member{Offset: 16, Type: union("", 8, Member{Name: "whole", Type: u64}, Member{Type: inner})},
	Member{Name: "mem", Offset: 24, Type: array(3, node)},
	MemberAt("flag", num, 72*8+3, 1),
	MemberAt("mode", num, 72*8+4, 9),
	Member{Name: "d_children", Offset: 80, Type: typedef("head_t", node)},
	Member{Name: "data", Offset: 96, Type: array(-1, node)},
)

func TestField(t *testing.T) {
	for path, want := range map[string]Field{
		"list.prev":       {Offset: 8},
		"whole":           {Offset: 16},
		"low":             {Offset: 16},
		"high":            {Offset: 20},
		"mem":             {Offset: 24},
		"mem[2].prev":     {Offset: 64},
		"flag":            {Offset: 72, BitOffset: 3, BitSize: 1},
		"mode":            {Offset: 72, BitOffset: 4, BitSize: 9},
		"d_children.next": {Offset: 80},
		"data[5].prev":    {Offset: 96 + 5*16 + 8},
	} {
		got, err := sample.Field(path)
		if err != nil || got.Offset != want.Offset || got.BitOffset != want.BitOffset || got.BitSize != want.BitSize {
			t.Errorf("%s: %+v %v, want %+v", path, got, err, want)
		}
		if !sample.HasField(path) {
			t.Errorf("HasField(%s) is false", path)
		}
	}
}

func TestFieldErrors(t *testing.T) {
	for path, want := range map[string]string{
		"d_child":     "struct sample has no member \"d_child\"; the nearest are d_children",
		"list.nxt":    "struct list_head has no member \"nxt\"; the nearest are next",
		"list.next.x": "int * has no member \"x\", being no struct",
		"mem[3]":      "outside the array",
		"mem[-1]":     "outside the array",
		"mem[x]":      "must be a number",
		"mem[1":       "lacks a ]",
		"whole[0]":    "not an array",
		"":            "empty",
		"list..next":  "empty name",
		"mem[1]next":  "does not follow",
		"data[1<<70]": "must be a number",
	} {
		_, err := sample.Field(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", path, err, want)
		}
	}
	_, err := sample.Field("nothing")
	if !errors.Is(err, ErrNoField) {
		t.Errorf("%v is no ErrNoField", err)
	}
	declared := &Type{Kind: Struct, Name: "secret", Incomplete: true}
	if _, err := declared.Field("x"); err == nil || !strings.Contains(err.Error(), "only declares") {
		t.Errorf("incomplete struct: %v", err)
	}
}

const printedSample = `struct sample {
	struct list_head list;                          /*     0       16 */
	union {
		u64 whole;                              /*    16        8 */
		struct {
			int low;                        /*    16        4 */
			int high;                       /*    20        4 */
		};                                      /*    16        8 */
	};                                              /*    16        8 */
	struct list_head mem[3];                        /*    24       48 */
	/* 3 bits hole */
	int flag:1;                                     /*    72: 3     4 */
	int mode:9;                                     /*    72: 4     4 */
	/* 6 bytes and 3 bits hole */
	head_t d_children;                              /*    80       16 */
	struct list_head data[];                        /*    96        0 */
	/* size: 96, members: 7, holes: 2 (6 bytes and 6 bits in all) */
};
`

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	if err := Print(&out, sample, PrintOptions{}); err != nil || out.String() != printedSample {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	if err := Print(&out, typedef("head_t", node), PrintOptions{Plain: true, Expand: true}); err != nil ||
		out.String() != "typedef struct list_head {\n\tint *next;\n\tint *prev;\n} head_t;\n" {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// Types that damaged debug information can make: nothing may run forever.
func TestCircles(t *testing.T) {
	var loop, self, anonymous, fn *Type
	loop = Lazy(&Type{Kind: Typedef, Name: "loop"}, func() Body { return Body{Elem: loop} })
	self = Lazy(&Type{Kind: Struct, Name: "self", Bytes: 8}, func() Body { return Body{Members: []Member{{Name: "a", Type: self}, {Name: "b", Type: self}}} })
	anonymous = Lazy(&Type{Kind: Struct, Bytes: 8}, func() Body { return Body{Members: []Member{{Type: anonymous}, {Type: anonymous}, {Type: anonymous}}} })
	fn = Lazy(&Type{Kind: Func}, func() Body {
		return Body{Elem: of(Pointer, fn), Params: []Param{{Type: of(Pointer, fn)}, {Type: of(Pointer, fn)}}}
	})
	pointers := &Type{Kind: Pointer, Bytes: 8}
	Lazy(pointers, func() Body { return Body{Elem: pointers} })
	var arrays *Type
	arrays = Lazy(&Type{Kind: Array, Count: 3}, func() Body { return Body{Elem: arrays} })
	for _, typ := range []*Type{loop, self, anonymous, fn, pointers, arrays} {
		_, _ = typ.Size(), typ.Strip()
		if s := typ.Declare("x"); len(s) > 1<<20 {
			t.Errorf("a declaration of %d bytes", len(s))
		}
		if typ.HasField("missing") || typ.HasField("a.b.a.missing") {
			t.Error("a member that is not there was found")
		}
		var out bytes.Buffer
		_ = Print(&out, typ, PrintOptions{Expand: true})
		if out.Len() > 32<<20 {
			t.Errorf("%s: %d bytes printed", typ, out.Len())
		}
	}
}

// Structs nested in structs by the thousand, and declarations that are long by
// themselves, are printed up to a bound, and it is said that there is more.
func TestEndlessPrint(t *testing.T) {
	deep := num
	for range 20000 {
		deep = structure("", 8, Member{Name: "in", Type: deep})
	}
	long := strings.Repeat("p", 1000)
	fn := Lazy(&Type{Kind: Func, Name: ""}, func() Body {
		var body Body
		for range 200 {
			body.Params = append(body.Params, Param{Name: long, Type: num})
		}
		return body
	})
	var members []Member
	for i := range 30000 {
		members = append(members, Member{Name: fmt.Sprint("m", i), Offset: int64(8 * i), Type: of(Pointer, fn)})
	}
	var out bytes.Buffer
	if err := Print(&out, structure("deep", 8, Member{Name: "in", Type: deep}), PrintOptions{}); err != nil || out.Len() > 1<<20 {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
	out.Reset()
	err := Print(&out, structure("wide", 8, members...), PrintOptions{})
	if err != nil || out.Len() > 17<<20 || !strings.HasSuffix(out.String(), "/* … there is more than can be printed */\n") {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}

// BenchmarkField looks up a path of three names.
func BenchmarkField(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sample.Field("mem[2].prev"); err != nil {
			b.Fatal(err)
		}
	}
}

// The path at an offset leads back to the offset.
func TestPathAt(t *testing.T) {
	anonymous := union("", 8, Member{Name: "whole", Type: u64}, Member{Name: "half", Type: num})
	outer := structure("outer", 64,
		Member{Name: "first", Type: num},
		Member{Name: "list", Offset: 8, Type: node},
		Member{Offset: 24, Type: anonymous},
		Member{Name: "parts", Offset: 32, Type: array(3, inner)},
		Member{Name: "tail", Offset: 56, Type: array(-1, num)})
	for offset, want := range map[int64]string{0: "first", 8: "list.next", 16: "list.prev", 24: "whole",
		32: "parts[0].low", 44: "parts[1].high", 56: "tail[0]", 64: "tail[2]"} {
		path, typ, rest := outer.PathAt(offset)
		f, err := outer.Field(path)
		if path != want || rest != 0 || err != nil || f.Offset != offset || typ != f.Type {
			t.Errorf("offset %d: %q and %d more, %v; want %q", offset, path, rest, err, want)
		}
	}
	if path, _, rest := outer.PathAt(10); path != "list.next" || rest != 2 {
		t.Errorf("in a pointer: %q and %d", path, rest)
	}
	if path, typ, rest := outer.PathAt(4); path != "" || typ != outer || rest != 4 {
		t.Errorf("in a hole: %q of %s and %d", path, typ, rest)
	}
}
