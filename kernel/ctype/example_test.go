package ctype_test

import (
	"fmt"
	"os"

	"github.com/kmortem/mortem/kernel/ctype"
)

// listHead is a struct list_head as debug information describes it.
func listHead() *ctype.Type {
	list := &ctype.Type{Kind: ctype.Struct, Name: "list_head", Bytes: 16}
	pointer := ctype.Lazy(&ctype.Type{Kind: ctype.Pointer, Bytes: 8}, func() ctype.Body { return ctype.Body{Elem: list} })
	return ctype.Lazy(list, func() ctype.Body {
		return ctype.Body{Members: []ctype.Member{{Name: "next", Type: pointer}, {Name: "prev", Offset: 8, Type: pointer}}}
	})
}

func ExampleType_Field() {
	f, err := listHead().Field("prev")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Type, "at", f.Offset)
	// Output: struct list_head * at 8
}

func ExamplePrint() {
	if err := ctype.Print(os.Stdout, listHead(), ctype.PrintOptions{Plain: true}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// struct list_head {
	// 	struct list_head *next;
	// 	struct list_head *prev;
	// };
}
