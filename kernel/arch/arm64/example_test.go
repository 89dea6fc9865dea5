package arm64_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/arch/arm64"
)

// caller calls another function with what it keeps in x19. It lies at callerAt.
var caller = code(
	0xa9bf7bfd, // stp x29, x30, [sp, #-16]!
	0xaa1303e0, // mov x0, x19
	0x94000040, // bl callerAt+0x108
)

const callerAt = 0xffff800080010000

func ExampleArch_CallTarget() {
	target, ok := arm64.Arch{}.CallTarget(caller, len(caller), callerAt)
	fmt.Printf("%#x %v\n", target, ok)
	// Output: 0xffff800080010108 true
}

func ExampleArch_Argument() {
	file := arm64.Arch{}.Registers()
	x0, _ := file.ByName("x0")
	o, ok := arm64.Arch{}.Argument(caller, len(caller), callerAt, x0)
	fmt.Println(file.Name(o.Base), o.Offset, ok)
	// Output: x19 0 true
}

func ExampleArch_FrameAt() {
	f, ok := arm64.Arch{}.FrameAt(caller, len(caller))
	below, saved := f.Saved(30) // the return address
	fmt.Printf("the CFA is sp+%d: %v; x30 at CFA-%d: %v\n", f.Offset, ok, below, saved)
	// Output: the CFA is sp+16: true; x30 at CFA-8: true
}
