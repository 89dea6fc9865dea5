package amd64_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
)

func TestFlowsAndTargets(t *testing.T) {
	for _, tc := range []struct {
		code           string
		len            int
		flow           arch.Flow
		target, refers uint64
	}{
		{"\xe8\xfb\x00\x00\x00", 5, arch.Call, 0x1100, 0},
		{"\xeb\xfe", 2, arch.Jump, 0x1000, 0},
		{"\x74\x10", 2, arch.Branch, 0x1012, 0},
		{"\xc3", 1, arch.Return, 0, 0},
		{"\x0f\x0b", 2, arch.Stop, 0, 0},
		{"\xf3\x0f\x1e\xfa", 4, arch.Next, 0, 0},
		{"\x48\x8b\x05\x09\x00\x00\x00", 7, arch.Next, 0, 0x1010}, // mov 9(%rip),%rax
		{"\xff\xd0", 2, arch.Call, 0, 0},                          // call *%rax
	} {
		in, err := amd64.Decoder{}.Decode([]byte(tc.code), 0x1000, nil)
		if err != nil || in.Len != tc.len || in.Flow != tc.flow || in.Target != tc.target || in.Refers != tc.refers {
			t.Errorf("%x: %+v, %v", tc.code, in, err)
		}
	}
}

func TestCallBefore(t *testing.T) {
	for code, want := range map[string]bool{
		"\x90\x90\x90\xe8\x01\x02\x03\x04": true,  // call rel32
		"\x90\x90\x90\x90\x90\x90\xff\xd0": true,  // call *%rax
		"\x90\x90\x90\x90\x90\x41\xff\xd4": true,  // call *%r12
		"\x90\xff\x15\x01\x02\x03\x04":     true,  // call *rel32(%rip)
		"\x90\x90\x90\x90\x90\x90\xff\xe0": false, // jmp *%rax
		"\x90\x90\x90\x90\x90\x90\x90\x90": false,
		"":                                 false,
	} {
		if got := (amd64.Arch{}).CallBefore([]byte(code)); got != want {
			t.Errorf("%x: %v", code, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\xe8\xfb\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, code []byte) {
		in, _ := amd64.Decoder{}.Decode(code, 0xffffffff81000000, nil)
		if in.Len < 1 || in.Len > 15 && in.Len > len(code) {
			t.Errorf("%x: a length of %d", code, in.Len)
		}
		(amd64.Arch{}).CallBefore(code)
	})
}

func ExampleDecoder_Decode() {
	name := func(addr uint64) string { return map[uint64]string{0xffffffff81000105: "schedule"}[addr] }
	in, err := amd64.Decoder{}.Decode([]byte("\xe8\x00\x01\x00\x00"), 0xffffffff81000000, name)
	fmt.Println(in.Text, err)
	// Output: callq schedule <nil>
}

// TestNegativeDisplacement: one of 32 bits is signed, relative to the instruction and to
// a register.
func TestNegativeDisplacement(t *testing.T) {
	in, err := (amd64.Decoder{}).Decode([]byte{0x48, 0x8b, 0x05, 0x00, 0xff, 0xff, 0xff}, 0xffffffff81000000, nil) // mov -0x100(%rip),%rax
	if err != nil || in.Refers != 0xffffffff80ffff07 {
		t.Errorf("%+v, %v", in, err)
	}
	code := []byte{0x48, 0x8d, 0xbb, 0x38, 0xfe, 0xff, 0xff, 0xe8, 0, 0, 0, 0} // lea -0x1c8(%rbx),%rdi; call
	if o, ok := (amd64.Arch{}).Argument(code, len(code), 0xffffffff81000000, amd64.DI); !ok || o.Offset != -0x1c8 || o.Base != amd64.BX {
		t.Errorf("%+v, %v", o, ok)
	}
	frame := []byte{0x48, 0x8d, 0xa4, 0x24, 0x00, 0xff, 0xff, 0xff, 0x90} // lea -0x100(%rsp),%rsp
	if f, ok := (amd64.Arch{}).FrameAt(frame, 8); !ok || f.Offset != 0x108 {
		t.Errorf("%+v, %v", f, ok)
	}
}
