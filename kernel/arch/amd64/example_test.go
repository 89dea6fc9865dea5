package amd64_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/arch/amd64"
)

// A function that calls another with the address of a member of what it was given:
//
//	push %rbx
//	mov  %rdi,%rbx
//	lea  0x10(%rbx),%rdi
//	call start+0x100
//
// It lies at start, 0xffffffff81000000.
const caller = "\x53\x48\x89\xfb\x48\x8d\x7b\x10\xe8\xf3\x00\x00\x00"

func ExampleArch_CallBefore() {
	// Is what stands on a stack a return address? The bytes before it tell.
	fmt.Println(amd64.Arch{}.CallBefore([]byte(caller)), amd64.Arch{}.CallBefore([]byte(caller[:8])))
	// Output: true false
}

func ExampleArch_CallTarget() {
	target, ok := amd64.Arch{}.CallTarget([]byte(caller), len(caller), start)
	fmt.Printf("%#x %v\n", target, ok)
	// Output: 0xffffffff81000100 true
}

// RBX, which the function that was called gives back as it was, leads to the argument.
func ExampleArch_Argument() {
	o, ok := amd64.Arch{}.Argument([]byte(caller), len(caller), start, amd64.DI)
	fmt.Println(o.HasBase, o.Base == amd64.BX, o.Offset, ok)
	// Output: true true 16 true
}

func ExampleArch_FrameAt() {
	f, ok := amd64.Arch{}.FrameAt([]byte(caller), len(caller))
	below, saved := f.Saved(amd64.BX)
	fmt.Printf("the CFA is rsp+%d: %v; rbx of the caller at CFA-%d: %v\n", f.Offset, ok, below, saved)
	// Output: the CFA is rsp+16: true; rbx of the caller at CFA-16: true
}
