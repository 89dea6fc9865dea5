package btfwrite_test

import (
	"fmt"
	"log"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
	"github.com/kmortem/mortem/kernel/debuginfo/btfwrite"
)

// The types of a kernel, and of a module on top of them.
func ExampleNew() {
	number := &ctype.Type{Kind: ctype.Int, Name: "int", Bytes: 4, Signed: true}
	record := func(name string, members ...ctype.Member) *ctype.Type {
		t := &ctype.Type{Kind: ctype.Struct, Name: name, Bytes: int64(4 * len(members))}
		return ctype.Lazy(t, func() ctype.Body { return ctype.Body{Members: members} })
	}
	kernel := btfwrite.New(nil)
	kernel.Type(record("point", ctype.Member{Name: "x", Type: number}, ctype.Member{Name: "y", Offset: 4, Type: number}))
	raw, err := kernel.Encode()
	if err != nil {
		log.Fatal(err)
	}
	module := btfwrite.New(kernel)
	module.Type(record("only", ctype.Member{Name: "n", Type: number}))
	split, err := module.Encode()
	if err != nil {
		log.Fatal(err)
	}

	base, err := btf.Parse(raw)
	if err != nil {
		log.Fatal(err)
	}
	types, err := btf.ParseSplit(split, base)
	if err != nil {
		log.Fatal(err)
	}
	y, _ := types.Type(ctype.Struct, "point").Field("y")
	n, _ := types.Type(ctype.Struct, "only").Field("n")
	fmt.Println(y.Offset, n.Type, types.Len(), "type of its own")
	// Output: 4 int 1 type of its own
}
