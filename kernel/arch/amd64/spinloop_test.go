package amd64_test

import (
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
)

// TestSpinLoop finds the word that a loop waits for, in the forms that compilers give
// such loops.
func TestSpinLoop(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   []byte
		offset int
		want   arch.SpinLoop
		found  bool
	}{
		{"bit_spin_lock", []byte{
			0xf0, 0x48, 0x0f, 0xba, 0x2f, 0x00, // lock btsq $0,(%rdi)
			0x73, 0x09, // jae ret
			0xf3, 0x90, // pause
			0x48, 0x8b, 0x07, // mov (%rdi),%rax
			0xa8, 0x01, // test $1,%al
			0x75, 0xf7, // jne pause
			0xc3}, 10, arch.SpinLoop{Base: amd64.DI, HasBase: true, Size: 8, Taken: true}, true},
		{"read_seqbegin", []byte{
			0xeb, 0x02, // jmp over
			0xf3, 0x90, // pause
			0x8b, 0x43, 0x10, // mov 0x10(%rbx),%eax
			0xa8, 0x01, // test $1,%al
			0x75, 0xf7, // jne pause
			0xc3}, 4, arch.SpinLoop{Base: amd64.BX, HasBase: true, Disp: 0x10, Size: 4}, true},
		{"bit_spin_lock, as gcc 12 has it in ___d_drop of 6.1", []byte{
			0xf0, 0x48, 0x0f, 0xba, 0x28, 0x00, // lock btsq $0,(%rax)
			0x72, 0x01, // jb pause
			0xc3,
			0xf3, 0x90, // pause
			0x48, 0x8b, 0x10, // mov (%rax),%rdx
			0x83, 0xe2, 0x01, // and $1,%edx
			0x75, 0xf6, // jne pause
			0xeb, 0xeb}, 11, arch.SpinLoop{Base: amd64.AX, HasBase: true, Size: 8, Taken: true}, true},
		{"a count", []byte{
			0xf3, 0x90, // pause
			0x48, 0x8b, 0x10, // mov (%rax),%rdx
			0x83, 0xe2, 0x01, // and $1,%edx
			0x48, 0x01, 0xd1, // add %rdx,%rcx
			0x75, 0xf3, // jne pause
			0xc3}, 2, arch.SpinLoop{}, false},
		{"a variable", []byte{
			0xf3, 0x90, // pause
			0x0f, 0xb6, 0x07, // movzbl (%rdi),%eax
			0x84, 0xc0, // test %al,%al
			0x74, 0xf7, // je pause
			0xc3}, 2, arch.SpinLoop{}, false},
		{"no pause", []byte{
			0x8b, 0x43, 0x10, // mov 0x10(%rbx),%eax
			0xa8, 0x01, // test $1,%al
			0x75, 0xf9, // jne back
			0xc3}, 3, arch.SpinLoop{}, false},
		{"behind the loop", []byte{
			0xf3, 0x90, 0x8b, 0x43, 0x10, 0xa8, 0x01, 0x75, 0xf7, 0x90, 0xc3}, 9, arch.SpinLoop{}, false},
	} {
		got, ok := amd64.Arch{}.SpinLoop(c.code, start, c.offset)
		if ok != c.found || ok && got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, ok, c.want)
		}
	}
}
