package amd64_test

import (
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

const (
	start  = 0xffffffff81000000
	lockFn = start + 0x1000
	tryFn  = start + 0x1100
	freeFn = start + 0x1200
	other  = start + 0x1300
)

// asm puts machine code together; calls are given as functions.
type asm struct{ b []byte }

func (a *asm) raw(b ...byte) *asm { a.b = append(a.b, b...); return a }

func (a *asm) call(target uint64) *asm {
	d := uint32(target - (start + uint64(len(a.b)) + 5))
	return a.raw(0xe8, byte(d), byte(d>>8), byte(d>>16), byte(d>>24))
}

// rdi puts a number into the first argument's register: mov $v,%rdi.
func (a *asm) rdi(v uint32) *asm {
	return a.raw(0x48, 0xc7, 0xc7, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func effects(target uint64) []taken.Effect {
	switch target {
	case lockFn:
		return []taken.Effect{{Take: true, Tag: 1}}
	case tryFn:
		return []taken.Effect{{Take: true, Tag: 1, Success: taken.IfNonzero}}
	case freeFn:
		return []taken.Effect{{Give: true, Tag: 1}}
	}
	return nil
}

const lockA, lockB = 0xffffffff82000000, 0xffffffff82000040

// TestOutstanding follows small functions, each with what is held behind its last
// call but one of the function at other.
func TestOutstanding(t *testing.T) {
	low := func(v uint64) uint32 { return uint32(v) }
	for _, c := range []struct {
		name string
		code func(a *asm)
		want map[uint64]bool // address: on all ways
	}{
		{"taken", func(a *asm) { a.rdi(low(lockA)).call(lockFn) }, map[uint64]bool{lockA: true}},
		{"given back", func(a *asm) { a.rdi(low(lockA)).call(lockFn).rdi(low(lockA)).call(freeFn) }, nil},
		{"another given back", func(a *asm) { a.rdi(low(lockA)).call(lockFn).rdi(low(lockB)).call(freeFn) }, map[uint64]bool{lockA: true}},
		{"given back by a store", func(a *asm) {
			a.rdi(low(lockA)).call(lockFn)
			a.raw(0xc6, 0x04, 0x25, 0, 0, 0, 0x82, 0) // movb $0,lockA
		}, nil},
		{"the next byte stored", func(a *asm) {
			a.rdi(low(lockA)).call(lockFn)
			a.raw(0xc6, 0x04, 0x25, 1, 0, 0, 0x82, 0) // movb $0,lockA+1
		}, map[uint64]bool{lockA: true}},
		{"on one way only", func(a *asm) {
			a.raw(0x85, 0xf6, 0x74, 12) // test %esi,%esi; je behind the call
			a.rdi(low(lockA)).call(lockFn)
		}, map[uint64]bool{lockA: false}},
		{"tried, where it worked", func(a *asm) {
			a.rdi(low(lockA)).call(tryFn)
			a.raw(0x85, 0xc0, 0x75, 1, 0xc3) // test %eax,%eax; jne +1; ret
		}, map[uint64]bool{lockA: true}},
		{"tried, where it failed", func(a *asm) {
			a.rdi(low(lockA)).call(tryFn)
			a.raw(0x85, 0xc0, 0x74, 1, 0xc3) // test %eax,%eax; je +1; ret
		}, nil},
		{"by cmpxchg", func(a *asm) {
			a.rdi(low(lockA))
			a.raw(0xf0, 0x0f, 0xb1, 0x17, 0x74, 1, 0xc3) // lock cmpxchg %edx,(%rdi); je +1; ret
		}, map[uint64]bool{lockA: true}},
		{"by cmpxchg, where it failed", func(a *asm) {
			a.rdi(low(lockA))
			a.raw(0xf0, 0x0f, 0xb1, 0x17, 0x75, 1, 0xc3) // jne +1
		}, nil},
		{"in one of two ways", func(a *asm) {
			a.rdi(low(lockA))
			a.raw(0xf0, 0x0f, 0xb1, 0x17, 0x74, 5).call(lockFn) // je behind the call
		}, map[uint64]bool{lockA: true}},
		{"a bit", func(a *asm) {
			a.rdi(low(lockA))
			a.raw(0xf0, 0x48, 0x0f, 0xba, 0x2f, 3, 0x73, 1, 0xc3) // lock btsq $3,(%rdi); jae +1; ret
		}, map[uint64]bool{lockA: true}},
		{"a bit that is tried again, by the register that leads to it", func(a *asm) {
			a.raw(0x48, 0xc7, 0xc0, 0, 0, 0, 0x82)             // mov $lockA,%rax
			a.raw(0xf0, 0x48, 0x0f, 0xba, 0x28, 3, 0x72, 0xf8) // lock btsq $3,(%rax); jb back
		}, map[uint64]bool{lockA: true}},
		{"a bit, and its byte cleared of it", func(a *asm) {
			a.rdi(low(lockA))
			a.raw(0xf0, 0x48, 0x0f, 0xba, 0x2f, 3, 0x73, 1, 0xc3)
			a.raw(0xf0, 0x80, 0x27, 0xf7) // lock andb $0xf7,(%rdi)
		}, nil},
		{"a bit, and another cleared", func(a *asm) {
			a.rdi(low(lockA))
			a.raw(0xf0, 0x48, 0x0f, 0xba, 0x2f, 3, 0x73, 1, 0xc3)
			a.raw(0xf0, 0x80, 0x27, 0xfd) // lock andb $0xfd,(%rdi)
		}, map[uint64]bool{lockA: true}},
	} {
		a := &asm{}
		a.raw(0x55) // push %rbp
		c.code(a)
		a.call(other)
		offset := len(a.b)
		a.rdi(low(lockA)).call(freeFn).raw(0x5d, 0xc3)
		o, ok := taken.Find(amd64.Arch{}, a.b, start, offset, true, effects)
		if !ok {
			t.Errorf("%s: cannot be followed", c.name)
			continue
		}
		got := map[uint64]bool{}
		for i := range o.Taken {
			addr, _, known := o.Address(&o.Taken[i], &taken.FrameValues{})
			if !known {
				t.Errorf("%s: the address of %+v is not known", c.name, o.Taken[i])
			}
			got[addr] = o.Taken[i].Sure
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: found %v, want %v", c.name, got, c.want)
		}
		for addr, sure := range c.want {
			if s, ok := got[addr]; !ok || s != sure {
				t.Errorf("%s: %#x is held on all ways: %v, %v; want %v", c.name, addr, s, ok, sure)
			}
		}
	}
}

// TestOutstandingAddress: an address that came in a register is found again in the
// one that the function keeps it in, or on its stack.
func TestOutstandingAddress(t *testing.T) {
	a := &asm{}
	a.raw(0x53, 0x48, 0x89, 0xfb)             // push %rbx; mov %rdi,%rbx
	a.raw(0x48, 0x8d, 0x7b, 0x18)             // lea 0x18(%rbx),%rdi
	a.call(lockFn).call(other)                //
	a.raw(0x50, 0x48, 0x89, 0x7c, 0x24, 0xf8) // what follows does not matter
	o, ok := taken.Find(amd64.Arch{}, a.b, start, 18, true, effects)
	if !ok || len(o.Taken) != 1 {
		t.Fatalf("%+v, %v", o, ok)
	}
	keeps := &taken.FrameValues{CFA: 0x1000, Register: func(r arch.Reg) (uint64, bool) { return 0xffff888000001000, r == amd64.BX },
		Load: func(uint64, int) (uint64, bool) { return 0, false }}
	if addr, likely, ok := o.Address(&o.Taken[0], keeps); !ok || likely || addr != 0xffff888000001018 {
		t.Errorf("by the register: %#x, %v, %v", addr, likely, ok)
	}
	lost := &taken.FrameValues{Register: func(arch.Reg) (uint64, bool) { return 0, false },
		Entry: func(r arch.Reg) (uint64, bool) { return 0xffff888000002000, r == amd64.DI }}
	if addr, _, ok := o.Address(&o.Taken[0], lost); !ok || addr != 0xffff888000002018 {
		t.Errorf("by the argument: %#x, %v", addr, ok)
	}
}

// FuzzOutstanding: no code makes the walk fail otherwise than by saying so.
func FuzzOutstanding(f *testing.F) {
	f.Add([]byte{0x55, 0x48, 0x89, 0xe5, 0xe8, 0, 0x10, 0, 0, 0x5d, 0xc3}, uint16(9), true)
	f.Add([]byte{0x74, 0xfe, 0xeb, 0xfc, 0xff, 0xe0, 0x90, 0xc3}, uint16(6), false)
	f.Add([]byte{0xf0, 0x0f, 0xb1, 0x17, 0x75, 0xfa, 0xc3}, uint16(6), false)
	f.Fuzz(func(t *testing.T, code []byte, offset uint16, returns bool) {
		all := func(uint64) []taken.Effect {
			return []taken.Effect{{Take: true, Tag: 1, Success: taken.IfZero}, {Give: true, Arg: 1, Tag: 1}}
		}
		o, ok := taken.Find(amd64.Arch{}, code, start, int(offset), returns, all)
		if !ok {
			return
		}
		v := &taken.FrameValues{CFA: 0x1000, Register: func(arch.Reg) (uint64, bool) { return 1, true },
			Entry: func(arch.Reg) (uint64, bool) { return 1, true }, Load: func(uint64, int) (uint64, bool) { return 1, true }}
		for i := range o.Taken {
			o.Address(&o.Taken[i], v)
		}
		for i := range o.Given {
			o.GivenAddress(&o.Given[i], v)
		}
	})
}
