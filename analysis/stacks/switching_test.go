package stacks_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// switching is a kernel with two tasks that sleep in the same way, of which the second
// is what CPU 1 runs by its run queue.
type switching struct {
	*synthetic.Kernel
	former, next           *synthetic.Task
	sched, prepare, change *synthetic.Code
	frames                 []synthetic.Frame
}

const schedLocals = 0x40

func newSwitching(l *synthetic.Layout) *switching {
	k := synthetic.New(l, synthetic.Machine{})
	s := &switching{Kernel: k}
	s.prepare = k.NewCode("prepare_task_switch", 64).Enter(0x10).Nop(8).Leave()
	// The code that changes stacks says nothing of its frame.
	s.change = k.NewCode("__switch_to_asm", 64).Nop(32)
	s.sched = k.NewCode("__schedule", 64).Enter(schedLocals).Call("prepare_task_switch").Call("__switch_to").Leave()
	k.NewCode("__switch_to", 64).Enter(0x10).Nop(8).Leave()
	wait := k.NewCode("do_wait", 64).Enter(0x20).Call("__schedule").Leave()
	entry := k.NewCode("system_call", 64).Enter(0).Call("do_wait").Leave()
	s.frames = []synthetic.Frame{{In: s.sched, Calls: "__switch_to", Locals: schedLocals}, {In: wait, Calls: "__schedule", Locals: 0x20}, {In: entry, Calls: "do_wait"}}
	s.former, s.next = k.Task("former", 100, k.InitNet()), k.Task("next", 101, k.InitNet())
	return s
}

func (s *switching) collect(t *testing.T) map[int32]*stacks.Stack {
	t.Helper()
	k := kerneltest.Synthetic(t, s)
	tasks, err := stacks.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	r, err := tasks.Collect(t.Context(), stacks.Options{})
	if err != nil {
		t.Fatal(err)
	}
	byPID := map[int32]*stacks.Stack{}
	for i := range r.Stacks {
		byPID[r.Stacks[i].PID] = &r.Stacks[i]
	}
	if byPID[100] == nil || byPID[101] == nil {
		t.Fatalf("stacks of %d tasks, without 100 or 101", len(byPID))
	}
	return byPID
}

func names(s *stacks.Stack) []string {
	var list []string
	for _, f := range s.Frames {
		list = append(list, f.Function)
	}
	return list
}

// TestBeforeTheSwitchOfStacks: the run queue has the next task, and the processor is on
// the former one's stack, on the layouts of all releases.
func TestBeforeTheSwitchOfStacks(t *testing.T) {
	for _, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			s := newSwitching(l)
			former := append([]synthetic.Frame{{In: s.prepare, Offset: 12, Locals: 0x10}, {In: s.sched, Calls: "prepare_task_switch", Locals: schedLocals}}, s.frames[1:]...)
			bases := s.former.Sleep(former...)
			s.next.RunOn(1, map[string]uint64{"ip": s.prepare.Addr + 12, "sp": bases[0] - 0x10, "bp": bases[0]}, s.frames...)
			s.next.Sleep(s.frames...)
			got := s.collect(t)
			want := []string{"prepare_task_switch", "__schedule", "do_wait", "system_call"}
			f, n := got[100], got[101]
			if !f.Running || f.CPU != 1 || f.SwitchingTo == nil || f.SwitchingTo.PID != 101 || !slices.Equal(names(f), want) || f.Error != "" || len(f.Faults) > 0 {
				t.Errorf("the former task: %+v, %q", f, names(f))
			}
			if n.Running || n.NextOn == nil || *n.NextOn != 1 || !slices.Equal(names(n), want[1:]) {
				t.Errorf("the next task: %+v, %q", n, names(n))
			}
		})
	}
}

// TestInTheSwitchOfStacks: the processor has the next task's stack, but the former
// one's frame pointer, in __switch_to_asm since 4.9 and in all of __switch_to before.
func TestInTheSwitchOfStacks(t *testing.T) {
	for _, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			s := newSwitching(l)
			bases := s.former.Sleep(s.frames...)
			want := []string{"__schedule", "do_wait", "system_call"}
			if l.HasStruct("inactive_task_frame") {
				s.next.Sleep(s.frames...)
				sp := s.next.Get("thread.sp")
				s.next.RunOn(1, map[string]uint64{"ip": s.change.Addr + 20, "sp": sp + 16, "bp": bases[0]}, s.frames...)
				s.next.Sleep(s.frames...)
				want = append([]string{"__switch_to_asm"}, want...)
			} else {
				s.inSwitchTo(bases[0])
				want = append([]string{"__switch_to"}, want...)
			}
			n := s.collect(t)[101]
			if !n.Running || n.SwitchingTo != nil || !slices.Equal(names(n), want) || n.Error != "" || len(n.Faults) > 0 {
				t.Errorf("%+v, %q; want %q", n, names(n), want)
			}
		})
	}
}

// inSwitchTo lets CPU 1 be in __switch_to, called from the scheduler, which has pushed
// the flags and its frame pointer, and has another value in the register.
func (s *switching) inSwitchTo(other uint64) {
	s.next.Sleep(s.frames...)
	sp := s.next.Get("thread.sp") // where the scheduler's BP is
	call := sp - 8
	to, _ := s.Symbol("__switch_to")
	s.next.RunOn(1, map[string]uint64{"ip": to + 12, "sp": call - 8 - 0x10, "bp": call - 8}, s.frames...)
	s.next.Sleep(s.frames...)
	s.PutUint64(call, s.sched.After("__switch_to"))
	s.PutUint64(call-8, other)
}
