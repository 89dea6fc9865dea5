package amd64_test

import (
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
)

func TestArgument(t *testing.T) {
	const call = "\xe8\x00\x00\x00\x00"
	for name, tc := range map[string]struct {
		before string
		want   arch.Origin
		ok     bool
	}{
		"kept register":     {"\x48\x89\xdf", arch.Origin{Base: amd64.BX, HasBase: true}, true},                          // mov %rbx,%rdi
		"member":            {"\x48\x8d\x7b\x10", arch.Origin{Base: amd64.BX, HasBase: true, Offset: 16}, true},          // lea 16(%rbx),%rdi
		"number":            {"\x48\xc7\xc7\x00\x10\x00\x82", arch.Origin{Base: amd64.DI, Offset: -0x7dfff000}, true},    // mov $…,%rdi
		"on the stack":      {"\x48\x8d\x7c\x24\x08", arch.Origin{Base: amd64.SP, HasBase: true, Offset: 8}, true},       // lea 8(%rsp),%rdi
		"load":              {"\x48\x8b\x7b\x10", arch.Origin{Base: amd64.BX, HasBase: true, Offset: 16, Load: 8}, true}, // mov 16(%rbx),%rdi
		"two steps":         {"\x48\x89\xd8\x48\x89\xc7", arch.Origin{Base: amd64.BX, HasBase: true}, true},              // mov %rbx,%rax; mov %rax,%rdi
		"overwritten since": {"\x48\x89\xdf\x31\xdb", arch.Origin{}, false},                                              // mov %rbx,%rdi; xor %ebx,%ebx
		"result of a call":  {call + "\x48\x89\xc7", arch.Origin{}, false},                                               // mov %rax,%rdi
		"computed":          {"\x48\x89\xdf\x48\xc1\xe7\x03", arch.Origin{}, false},                                      // shl $3,%rdi
		"another path":      {"\x74\x03\x48\x89\xdf", arch.Origin{}, false},                                              // je +3; mov %rbx,%rdi
		"zero":              {"\x31\xff", arch.Origin{Base: amd64.DI}, true},                                             // xor %edi,%edi
		"nothing before":    {"", arch.Origin{}, false},
	} {
		code := []byte(tc.before + call)
		got, ok := (amd64.Arch{}).Argument(code, len(code), 0x1000, amd64.DI)
		if ok != tc.ok || ok && (got.HasBase != tc.want.HasBase || got.HasBase && got.Base != tc.want.Base || got.Offset != tc.want.Offset || got.Load != tc.want.Load) {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
	if target, ok := (amd64.Arch{}).CallTarget([]byte("\x90\xe8\x10\x00\x00\x00"), 6, 0x1000); !ok || target != 0x1016 {
		t.Errorf("the call leads to %#x, %v", target, ok)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x55\x48\x89\xe5\x53\xe8\x00\x00\x00\x00\x5b\x5d\xc3"), 10)
	f.Fuzz(func(t *testing.T, code []byte, at int) {
		if at < 0 || at > len(code) {
			return
		}
		(amd64.Arch{}).FrameAt(code, at)
		for _, r := range []arch.Reg{amd64.DI, amd64.SI, amd64.SP} {
			(amd64.Arch{}).Argument(code, at, 0x1000, r)
		}
	})
}

func TestFrameAt(t *testing.T) {
	// push %rbp; mov %rsp,%rbp; push %rbx; sub $16,%rsp; call; add $16,%rsp; pop %rbx; pop %rbp; ret
	code := []byte("\x55\x48\x89\xe5\x53\x48\x83\xec\x10\xe8\x00\x00\x00\x00\x48\x83\xc4\x10\x5b\x5d\xc3")
	for at, depth := range map[int]int64{0: 8, 1: 16, 5: 24, 14: 40, 18: 24, 20: 8} {
		if f, ok := (amd64.Arch{}).FrameAt(code, at); !ok || f.Base != amd64.SP || f.Offset != depth {
			t.Errorf("at %d: %+v, %v; want a depth of %d", at, f, ok, depth)
		}
	}
	f, _ := (amd64.Arch{}).FrameAt(code, 14)
	bp, ok1 := f.Saved(amd64.BP)
	bx, ok2 := f.Saved(amd64.BX)
	if !ok1 || !ok2 || bp != 16 || bx != 24 || !f.Same(amd64.R12) || f.Same(amd64.BX) {
		t.Errorf("rbp is saved %d below, rbx %d", bp, bx)
	}
}
