package ctype_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/ctype"
)

// A type whose members are decoded when they are first asked for, as all readers of
// debug information make them; one member is a bit-field of 3 bits.
func ExampleLazy() {
	number := &ctype.Type{Kind: ctype.Int, Name: "unsigned int", Bytes: 4}
	flags := ctype.Lazy(&ctype.Type{Kind: ctype.Struct, Name: "flags", Bytes: 8}, func() ctype.Body {
		return ctype.Body{Members: []ctype.Member{
			ctype.MemberAt("count", number, 0, 0),
			ctype.MemberAt("state", number, 37, 3),
		}}
	})
	f, err := flags.Field("state")
	fmt.Println(f.Offset, f.BitOffset, f.BitSize, err)
	// Output: 4 5 3 <nil>
}
