package taken_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

// A function that calls another while it holds the lock that it was given:
//
//	push %rbx
//	mov  %rdi,%rbx
//	call lock
//	call other
//	mov  %rbx,%rdi
//	call unlock
//	pop  %rbx
//	ret
const (
	start  = 0xffffffff81000000
	lock   = start + 0x100
	unlock = start + 0x300
	inside = 14 // where the call of other returns to
	code   = "\x53\x48\x89\xfb\xe8\xf7\x00\x00\x00\xe8\xf2\x01\x00\x00\x48\x89\xdf\xe8\xea\x02\x00\x00\x5b\xc3"
)

// effects tells what the functions do with their first argument.
func effects(target uint64) []taken.Effect {
	switch target {
	case lock:
		return []taken.Effect{{Take: true}}
	case unlock:
		return []taken.Effect{{Give: true}}
	}
	return nil
}

// What does a task hold whose stack shows that it is in the call of other?
func ExampleFind() {
	o, ok := taken.Find(amd64.Arch{}, []byte(code), start, inside, true, effects)
	if !ok {
		return // it cannot be followed
	}
	frame := &taken.FrameValues{CFA: 0xffffc90000014000, Register: func(r arch.Reg) (uint64, bool) {
		return 0xffff888004a51200, r == amd64.BX // as the unwinder found it
	}}
	for i := range o.Taken {
		t := &o.Taken[i]
		addr, _, ok := o.Address(t, frame)
		fmt.Printf("the call at %#x took %#x, on all ways: %v %v\n", t.Site, addr, t.Sure, ok)
	}
	// Output: the call at 0xffffffff81000004 took 0xffff888004a51200, on all ways: true true
}

func ExampleSites() {
	sites, left, ok := taken.Sites(amd64.Arch{}, []byte(code), start, effects)
	for _, s := range sites {
		fmt.Printf("%#x takes: %v, its address comes from an %s, given back what was taken here: %v\n", s.Addr, s.Take, s.Origin, s.Paired)
	}
	fmt.Println("ways that leave something taken:", left, ok)
	// Output:
	// 0xffffffff81000004 takes: true, its address comes from an argument, given back what was taken here: false
	// 0xffffffff81000011 takes: false, its address comes from an argument, given back what was taken here: true
	// ways that leave something taken: 0 true
}
