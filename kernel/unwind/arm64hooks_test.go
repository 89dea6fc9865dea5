package unwind

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/arm64"
)

// The structures of arm64 kernels, as include/linux/ftrace.h, kprobes.h and rethook.h
// of the releases say.
const (
	arm64GraphFP = `struct ftrace_ret_stack 40
0 8 ret unsigned long
8 8 func unsigned long
16 8 calltime unsigned long long
24 8 subtime unsigned long long
32 8 fp unsigned long
`
	arm64GraphBoth = `struct ftrace_ret_stack 40
0 8 ret unsigned long
8 8 func unsigned long
16 8 calltime unsigned long long
24 8 fp unsigned long
32 8 retp unsigned long *
`
	arm64GraphRetp = `struct ftrace_ret_stack 24
0 8 ret unsigned long
8 8 func unsigned long
16 8 retp unsigned long *
`
	arm64Array = `edit task_struct
size 65536
32768 4 curr_ret_stack int
32776 8 ret_stack struct ftrace_ret_stack *
`
	arm64Shadow = `edit task_struct
size 65536
32768 4 curr_ret_stack int
32776 8 ret_stack unsigned long *
`
	arm64ProbeOld = `struct kretprobe_instance 40
0 16 hlist struct hlist_node
16 8 rp void *
24 8 ret_addr void *
32 8 task struct task_struct *
`
	arm64Lists = `struct llist_node 8
0 8 next struct llist_node *
struct llist_head 8
0 8 first struct llist_node *
`
	arm64ProbeList = arm64Lists + `struct kretprobe_instance 48
16 8 llist struct llist_node
24 8 rph void *
32 8 ret_addr void *
40 8 fp void *
edit task_struct
size 65536
32784 8 kretprobe_instances struct llist_head
`
	arm64Rethook = arm64Lists + `struct rethook_node 48
16 8 llist struct llist_node
24 8 rethook void *
32 8 ret_addr unsigned long
40 8 frame unsigned long
edit task_struct
size 65536
32784 8 rethooks struct llist_head
`
)

// Where the tests put what tracers keep, and their trampolines: code of the kernel's own
// that is not on the task's stack.
const (
	arm64Kept      = 0xffff7f0000100000
	arm64GraphCode = "machine_restart"
	arm64ProbeCode = "machine_halt"
)

// again is the scene as it was before anything was put into it.
func (s *arm64Scene) again(t *testing.T) *arm64Scene {
	tr, err := New(s.tr.k, nil)
	if err != nil {
		t.Fatal(err)
	}
	clear(s.mem.words)
	tr.mem = s.mem
	return &arm64Scene{t: t, tr: tr, mem: s.mem, task: s.task, trace: s.trace}
}

// tracers tells the kernel's structures for them.
func (s *arm64Scene) tracers(structures string) {
	s.t.Helper()
	// EL7's structures have none of these yet.
	syn := synthetic.New(synthetic.EL7().Extend(structures), synthetic.Machine{})
	image, err := syn.Image()
	if err != nil {
		s.t.Fatal(err)
	}
	info, err := syn.DebugInfo()
	if err != nil {
		s.t.Fatal(err)
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	h := &s.tr.hooks
	*h = hooks{}
	h.find(k)
	h.graph, h.probes = s.symbol(arm64GraphCode, 0), []uint64{s.symbol(arm64ProbeCode, 0)}
	for _, at := range append([]uint64{h.graph}, h.probes...) {
		h.code = append(h.code, span{at, at + 4*16})
	}
}

// arm64Keys are what a tracer names return addresses by.
type arm64Key func(s *arm64Scene, i int) uint64

// byFP: the frame pointer at the function's entry, which is the caller's.
func byFP(s *arm64Scene, i int) uint64 {
	fp, known := s.trace.Frames[i].Registers.Get(arm64.FP)
	if !known {
		s.t.Fatalf("frame %d has no frame pointer", i)
	}
	return fp
}

// bySP: the stack pointer at the function's entry.
func bySP(s *arm64Scene, i int) uint64 {
	if s.trace.Frames[i].Method != ByCFI {
		s.t.Fatalf("frame %d was found by %s", i, s.trace.Frames[i].Method)
	}
	return s.trace.Frames[i].SP
}

// graphArray keeps return addresses in an array, the innermost last, and behind it one
// that is not in use any more.
func (s *arm64Scene) graphArray(which []int, key arm64Key) {
	e, h := &s.tr.hooks.entry, &s.tr.hooks.task
	at := func(n int) uint64 { return arm64Kept + uint64(n*e.Size()) }
	place := s.tr.machine.graphPlace(e)
	for n, i := range which {
		put := at(len(which) - 1 - n)
		s.mem.put(put+e.Return.Offset(), s.trace.Frames[i].PC)
		s.mem.put(put+place.Offset(), key(s, i))
	}
	s.mem.put(at(len(which))+e.Return.Offset(), s.symbol("panic", 4))
	s.mem.put(at(len(which))+place.Offset(), key(s, which[0]))
	s.mem.put(s.task.Addr+h.Stack.Offset(), arm64Kept)
	s.mem.put(s.task.Addr+h.Depth.Offset(), uint64(len(which)-1))
}

// graphShadow keeps them on the shadow stack, with words that a tracer keeps between.
// The innermost function was jumped to by another one that is traced.
func (s *arm64Scene) graphShadow(which []int, key arm64Key) {
	e, h := &s.tr.hooks.entry, &s.tr.hooks.task
	words, depth := uint64(e.Size()/8), uint64(0)
	push := func(ret, key, data uint64) {
		at := arm64Kept + 8*depth
		s.mem.put(at+e.Return.Offset(), ret)
		s.mem.put(at+e.Place.Offset(), key)
		depth += words + data
		s.mem.put(arm64Kept+8*depth, words+data)
		depth++
	}
	for n := len(which) - 1; n >= 0; n-- {
		push(s.trace.Frames[which[n]].PC, key(s, which[n]), uint64(n))
	}
	push(s.tr.hooks.graph, key(s, which[0]), 0)
	s.mem.put(s.task.Addr+h.Stack.Offset(), arm64Kept)
	s.mem.put(s.task.Addr+h.Depth.Offset(), depth)
}

// probeList keeps them in a list of the task, the innermost first.
func (s *arm64Scene) probeList(which []int, key arm64Key) {
	h := &s.tr.hooks
	head, next, ret, frame := h.task.Instances, h.inst.List, h.inst.Return, h.inst.Frame
	if h.node.List.Has() {
		head, next, ret, frame = h.task.Rethooks, h.node.List, h.node.Return, h.node.Frame
	}
	link := s.task.Addr + head.Offset()
	for n, i := range which {
		at := arm64Kept + 4096 + 64*uint64(n)
		s.mem.put(link, at+next.Offset())
		s.mem.put(at+ret.Offset(), s.trace.Frames[i].PC)
		s.mem.put(at+frame.Offset(), key(s, i))
		link = at + next.Offset()
	}
	s.mem.put(link, 0)
}

// probeTable keeps them in the hash table of all tasks.
func (s *arm64Scene) probeTable(which []int, key arm64Key) {
	h := &s.tr.hooks
	h.table = arm64Kept + 8192
	s.mem.put(h.table, make([]uint64, probeBuckets)...)
	link := h.table + 8*37
	for n, i := range which {
		at := arm64Kept + 4096 + 64*uint64(n)
		s.mem.put(link, at+h.old.List.Offset())
		s.mem.put(at+h.old.Return.Offset(), s.trace.Frames[i].PC)
		s.mem.put(at+h.old.Task.Offset(), s.task.Addr)
		if h.old.Frame.Has() {
			s.mem.put(at+h.old.Frame.Offset(), key(s, i))
		}
		link = at + h.old.List.Offset()
	}
	s.mem.put(link, 0)
}

// arm64Tracers are the ways that tracers of arm64 had to put return addresses away.
var arm64Tracers = []struct {
	release    string
	structures string
	hook       string
	keep       func(s *arm64Scene, which []int, key arm64Key)
	key        arm64Key
}{
	{"4.15", arm64GraphFP + arm64Array, hookGraph, (*arm64Scene).graphArray, byFP},
	{"5.17", arm64GraphBoth + arm64Array, hookGraph, (*arm64Scene).graphArray, byFP},
	{"6.11", arm64GraphBoth + arm64Shadow, hookGraph, (*arm64Scene).graphShadow, byFP},
	{"6.13", arm64GraphRetp + arm64Shadow, hookGraph, (*arm64Scene).graphShadow, byFP},
	{"4.15", arm64ProbeOld, hookProbe, (*arm64Scene).probeTable, nil},
	{"5.1", arm64ProbeOld + "size 48\n40 8 fp void *", hookProbe, (*arm64Scene).probeTable, bySP},
	{"5.11", arm64ProbeList, hookProbe, (*arm64Scene).probeList, bySP},
	{"5.16", arm64ProbeList, hookProbe, (*arm64Scene).probeList, byFP},
	{"rethook", arm64Rethook, hookProbe, (*arm64Scene).probeList, byFP},
}

func (s *arm64Scene) trampoline(hook string) uint64 {
	if hook == hookGraph {
		return s.tr.hooks.graph
	}
	return s.tr.hooks.probes[0]
}

// TestARM64Hooks: return addresses that tracers have replaced in a sleeping task's frame
// records are found again, by call frame information, the functions' code and frame
// records alone.
func TestARM64Hooks(t *testing.T) {
	scene := newARM64Scene(t)
	for _, tc := range arm64Tracers {
		for _, by := range []string{"CFI", "records"} {
			t.Run(fmt.Sprintf("%s %s by %s", tc.hook, tc.release, by), func(t *testing.T) {
				s := scene.again(t)
				s.tracers(tc.structures)
				which := []int{1, 3, 4, 6}
				tc.keep(s, which, tc.key)
				for _, i := range which {
					s.mem.put(s.trace.Frames[i].Slot, s.trampoline(tc.hook))
				}
				if by == "records" {
					s.noCFI()
				}
				s.checkHooks(s.tr.Sleeping(s.task, Options{}), 0, tc.hook, which)
			})
		}
	}
}

// noCFI takes the call frame information away.
func (s *arm64Scene) noCFI() {
	s.tr.cfiOnce.Do(func() {})
	s.tr.cfiData, s.tr.cfiErr = nil, errNoData
}

// checkHooks: a trace has the task's frames from the n-th on, and those are marked whose
// return addresses were replaced.
func (s *arm64Scene) checkHooks(trace Trace, n int, hook string, which []int) {
	s.t.Helper()
	var marked []int
	for i := range trace.Frames {
		if trace.Frames[i].Hooked == hook {
			marked = append(marked, i+n)
		}
	}
	if !trace.Complete() || trace.End != EndUser || !slices.Equal(pcs(trace.Frames), s.outer(n)) || !slices.Equal(marked, which) {
		s.t.Errorf("%#x\nwant %#x\nmarked %v, want %v; %s %v %v", pcs(trace.Frames), s.outer(n), marked, which, trace.End, trace.Err, trace.Faults)
	}
}

// TestARM64HookTogether: a function that is traced and probed has one trampoline, which
// stands for the other.
func TestARM64HookTogether(t *testing.T) {
	s := newARM64Scene(t)
	s.tracers(arm64GraphRetp + arm64Shadow + strings.Replace(arm64ProbeList, "edit task_struct\nsize 65536\n", "edit task_struct\n", 1))
	s.probeList([]int{3}, byFP)
	s.graphShadow([]int{3}, byFP)
	s.mem.put(arm64Kept+s.tr.hooks.entry.Return.Offset(), s.tr.hooks.probes[0])
	s.mem.put(s.trace.Frames[3].Slot, s.tr.hooks.graph)
	s.checkHooks(s.tr.Sleeping(s.task, Options{}), 0, hookGraph+", "+hookProbe, []int{3})
}

// TestARM64HookLost: where nothing is put away for a trampoline, it stays, says so, and
// frame records lead on.
func TestARM64HookLost(t *testing.T) {
	s := newARM64Scene(t)
	s.tracers(arm64GraphRetp + arm64Shadow)
	s.mem.put(s.trace.Frames[3].Slot, s.tr.hooks.graph)
	trace := s.tr.Sleeping(s.task, Options{})
	want := s.outer(0)
	want[3] = s.tr.hooks.graph
	if !slices.Equal(pcs(trace.Frames), want) || trace.End != EndUser {
		t.Fatalf("%#x, %s %v; want %#x", pcs(trace.Frames), trace.End, trace.Err, want)
	}
	if f := trace.Frames[3]; f.Hooked != hookGraph || f.Note == "" {
		t.Errorf("the trampoline's frame is %+v", f)
	}
}

// TestARM64HookInRegister: a function that was interrupted before it made a frame record
// has the trampoline in the link register.
func TestARM64HookInRegister(t *testing.T) {
	scene := newARM64Scene(t)
	for _, tc := range arm64Tracers {
		s := scene.again(t)
		s.tracers(tc.structures)
		tc.keep(s, []int{4}, tc.key)
		s.noCFI()
		regs := s.called(4, "memcpy")
		regs.Set(arm64.LR, s.trampoline(tc.hook))
		trace := s.tr.Running(s.task, 0, regs, Options{})
		if len(trace.Frames) > 0 {
			trace.Frames = trace.Frames[1:]
		}
		s.checkHooks(trace, 4, tc.hook, []int{4})
	}
}

// called are the registers when frame i has just called a function.
func (s *arm64Scene) called(i int, name string) arch.Registers {
	regs := s.at(i)
	regs.Set(arm64.LR, s.trace.Frames[i].PC)
	regs.Set(arm64.PC, s.symbol(name, 0))
	return regs
}

// TestARM64HookRuns: a processor that is in a trampoline, or in what that calls.
func TestARM64HookRuns(t *testing.T) {
	scene := newARM64Scene(t)
	for _, tc := range arm64Tracers {
		for _, deep := range []bool{false, true} {
			s := scene.again(t)
			s.tracers(tc.structures)
			tc.keep(s, []int{4, 6}, tc.key)
			s.noCFI()
			s.mem.put(s.trace.Frames[6].Slot, s.trampoline(tc.hook)) // the caller is traced too
			regs, inside := s.at(4), s.trampoline(tc.hook)+4*8
			sp, _ := regs.Get(arm64.SP)
			fp, _ := regs.Get(arm64.FP)
			regs.Set(arm64.SP, sp-64)
			regs.Set(arm64.PC, inside)
			frames := []uint64{inside}
			if deep { // its handler has called something
				s.mem.put(sp-96, fp, inside)
				regs.Set(arm64.SP, sp-128)
				regs.Set(arm64.FP, sp-96)
				regs.Forget(arm64.LR)
				regs.Set(arm64.PC, s.symbol("memcpy", 4))
				frames = []uint64{s.symbol("memcpy", 4), inside}
			}
			trace := s.tr.Running(s.task, 0, regs, Options{})
			if !slices.Equal(pcs(trace.Frames), append(frames, s.outer(4)...)) || trace.End != EndUser {
				t.Errorf("%s %s: %#x, %s %v %v; want %#x and %#x", tc.hook, tc.release, pcs(trace.Frames), trace.End, trace.Err, trace.Faults, frames, s.outer(4))
			}
		}
	}
}

// TestARM64ForgedHooks: whatever tracers seem to have put away, in a stack full of
// trampolines, the walk ends, and soon.
func TestARM64ForgedHooks(t *testing.T) {
	scene := newARM64Scene(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for _, tc := range arm64Tracers {
		s := scene.again(t)
		s.tracers(tc.structures)
		tc.keep(s, []int{1, 3, 4, 6}, tc.key)
		if strings.Contains(tc.structures, "hlist") {
			s.mem.put(s.tr.hooks.table, s.tr.hooks.table+8) // a chain that leads into the table
		}
		start := s.task.Stack + s.tr.size - 8192
		for at := start; at < s.task.Stack+s.tr.size-512; at += 16 {
			s.mem.put(at, at+16, s.trampoline(tc.hook))
		}
		for at := uint64(arm64Kept); at < arm64Kept+3*4096; at += 8 {
			if rng.IntN(4) == 0 {
				s.mem.put(at, []uint64{rng.Uint64(), arm64Kept + rng.Uint64N(3*4096)&^7, start + rng.Uint64N(8192)&^7, s.symbol("panic", 4)}[rng.IntN(4)])
			}
		}
		r := s.at(1)
		r.Set(arm64.SP, start)
		r.Set(arm64.FP, start)
		for _, opt := range []Options{{}, {Scan: true}} {
			began := time.Now()
			trace := s.tr.Running(s.task, 0, r, opt)
			if len(trace.Frames) > defaultLimit || time.Since(began) > 20*time.Second {
				t.Errorf("%s %s: %d frames in %v", tc.hook, tc.release, len(trace.Frames), time.Since(began))
			}
		}
	}
}
