package unwind_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// hooked is a task that sleeps five functions deep.
type hooked struct {
	*synthetic.Kernel
	task  *synthetic.Task
	code  []*synthetic.Code
	slots []uint64 // where the return address of each function lies
	real  []uint64 // and what it is
}

var hookedNames = []string{"__schedule", "inner", "traced", "middle", "outer"}

func newHooked(l *synthetic.Layout, trampoline string) *hooked {
	k := synthetic.New(l, synthetic.Machine{})
	h := &hooked{Kernel: k}
	k.NewCode("__switch_to", 16).Enter(0).Leave()
	callee := "__switch_to"
	var frames []synthetic.Frame
	for _, name := range hookedNames {
		c := k.NewCode(name, 32).Enter(0).Call(callee).Leave()
		frames = append(frames, synthetic.Frame{In: c, Calls: callee})
		h.code, callee = append(h.code, c), name
	}
	// sub $0x18,%rsp; nop …
	k.Func(trampoline, append([]byte{0x48, 0x83, 0xec, 0x18}, bytes.Repeat([]byte{0x90}, 28)...))
	h.task = k.Task("traced", 100, k.InitNet())
	for _, base := range h.task.Sleep(frames...) {
		h.slots = append(h.slots, base+8)
		h.real = append(h.real, k.Uint64(base+8))
	}
	return h
}

// replace puts the trampoline in the place of return addresses, the innermost
// first.
func (h *hooked) replace(trampoline string, which ...int) {
	addr, _ := h.Symbol(trampoline)
	for _, i := range which {
		h.PutUint64(h.slots[i], addr)
	}
}

// The structures as the debug information of the releases has them, or, for 2.6.32,
// 3.10 and 5.14, as their include/linux/ftrace.h and kprobes.h say for x86-64.
const (
	graphOld = `struct ftrace_ret_stack 40
0 8 ret unsigned long
8 8 func unsigned long
16 8 calltime unsigned long long
24 8 subtime unsigned long long
32 8 fp unsigned long
edit task_struct
size %d
%d 4 curr_ret_stack int
%d 8 ret_stack struct ftrace_ret_stack *`
	graphRetp = `struct ftrace_ret_stack 32
0 8 ret unsigned long
8 8 func unsigned long
16 8 calltime unsigned long long
24 8 retp unsigned long *`
	graphShort = `struct ftrace_ret_stack 24
0 8 ret unsigned long
8 8 func unsigned long
16 8 retp unsigned long *`
	probeOld = `struct kretprobe_instance 40
0 16 hlist struct hlist_node
16 8 rp void *
24 8 ret_addr void *
32 8 task struct task_struct *`
	probeFP = probeOld + `
size 48
40 8 fp void *`
	lists = `struct llist_node 8
0 8 next struct llist_node *
struct llist_head 8
0 8 first struct llist_node *
`
	probeTask = lists + `struct kretprobe_instance 48
16 8 llist struct llist_node
24 8 rph void *
32 8 ret_addr void *
40 8 fp void *
edit task_struct
size %d
%d 8 kretprobe_instances struct llist_head`
	rethook = lists + `struct rethook_node 48
16 8 llist struct llist_node
24 8 rethook void *
32 8 ret_addr unsigned long
40 8 frame unsigned long`
)

// taskSize is the size of task_struct, to which a test adds members.
func taskSize(l *synthetic.Layout) int { return int(l.Size("task_struct")) }

// TestFunctionGraph: the ways that function-graph tracing had to put return addresses
// away.
func TestFunctionGraph(t *testing.T) {
	old := func(load func() *synthetic.Layout) *synthetic.Layout {
		n := taskSize(load())
		return load().Extend(fmt.Sprintf(graphOld, n+16, n, n+8))
	}
	for _, tc := range []struct {
		layout *synthetic.Layout
		write  func(h *hooked, which []int)
	}{
		{old(synthetic.EL6), writeGraphArray}, {old(synthetic.EL7), writeGraphArray},
		{synthetic.V5_10().Extend(graphRetp), writeGraphArray}, {synthetic.V6_1().Extend(graphRetp), writeGraphArray},
		{synthetic.V6_12().Extend(graphRetp), writeGraphShadow}, {synthetic.V7().Extend(graphShort), writeGraphShadow},
	} {
		t.Run(tc.layout.Name, func(t *testing.T) {
			h := newHooked(tc.layout, "return_to_handler")
			which := []int{1, 2, 3}
			tc.write(h, which)
			h.replace("return_to_handler", which...)
			h.check(t, "function graph", which)
		})
	}
}

// writeGraphArray writes an array of entries, the innermost last, behind one of a
// function of which nothing is left on the stack.
func writeGraphArray(h *hooked, which []int) {
	size := h.Layout.Size("ftrace_ret_stack")
	at := h.Kmalloc(50 * size)
	h.ObjectAt("ftrace_ret_stack", at).Set("ret", h.code[0].Addr)
	for i, n := range which {
		e := h.ObjectAt("ftrace_ret_stack", at+uint64(len(which)-i)*size)
		e.Set("ret", h.real[n]).Set("func", h.code[n].Addr)
		if e.Has("retp") {
			e.Set("retp", h.slots[n])
		}
	}
	h.task.Set("ret_stack", at).Set("curr_ret_stack", uint64(len(which)))
}

// writeGraphShadow writes an array of words: each entry, words that a tracer keeps
// behind it, and the way back.
func writeGraphShadow(h *hooked, which []int) {
	words := h.Layout.Size("ftrace_ret_stack") / 8
	at, depth := h.Kmalloc(4096), uint64(0)
	for i := len(which) - 1; i >= 0; i-- {
		n, data := which[i], uint64(i) // so many words of data
		h.ObjectAt("ftrace_ret_stack", at+8*depth).Set("ret", h.real[n]).Set("func", h.code[n].Addr).Set("retp", h.slots[n])
		depth += words
		for range data {
			h.PutUint64(at+8*depth, 0x1234)
			depth++
		}
		h.PutUint64(at+8*depth, 3<<16|1<<10|words+data) // bitmap, type, offset
		depth++
	}
	h.task.Set("ret_stack", at).Set("curr_ret_stack", depth)
}

// TestKretprobes: the ways that kretprobes had. Two probes are on the same
// function, of which one has the trampoline for a return address.
func TestKretprobes(t *testing.T) {
	el9 := synthetic.EL9()
	for _, tc := range []struct {
		layout     *synthetic.Layout
		trampoline string
		write      func(h *hooked, trampoline uint64, which []int)
	}{
		{synthetic.EL6().Extend(probeOld), "kretprobe_trampoline", writeProbeTable},
		{synthetic.EL7().Extend(probeOld), "kretprobe_trampoline", writeProbeTable},
		{synthetic.V5_10().Extend(probeFP), "kretprobe_trampoline", writeProbeTable},
		{synthetic.EL9().Extend(fmt.Sprintf(probeTask, taskSize(el9)+8, taskSize(el9))), "__kretprobe_trampoline", writeProbeList},
		{synthetic.V6_1().Extend(rethook), "arch_rethook_trampoline", writeRethooks},
		{synthetic.V7().Extend(rethook), "arch_rethook_trampoline", writeRethooks},
	} {
		t.Run(tc.layout.Name, func(t *testing.T) {
			h := newHooked(tc.layout, tc.trampoline)
			which := []int{1, 3}
			addr, _ := h.Symbol(tc.trampoline)
			tc.write(h, addr, which)
			h.replace(tc.trampoline, which...)
			h.check(t, "kretprobe", which)
		})
	}
}

// writeProbeTable hashes the instances of all tasks.
func writeProbeTable(h *hooked, trampoline uint64, which []int) {
	table := h.Var("kretprobe_inst_table", "struct hlist_head [64]")
	bucket := table.Addr + 8*37
	other := h.Task("other", 101, h.InitNet())
	add := func(owner *synthetic.Task, ret, frame uint64) {
		o := h.Alloc("kretprobe_instance").Set("ret_addr", ret).Set("task", owner.Addr)
		if o.Has("fp") {
			o.Set("fp", frame)
		}
		h.PutUint64(o.At("hlist.next"), h.Uint64(bucket))
		h.PutUint64(bucket, o.At("hlist.next"))
	}
	for i := len(which) - 1; i >= 0; i-- {
		n := which[i]
		add(h.task, h.real[n], h.slots[n])
		add(h.task, trampoline, h.slots[n]) // the second probe of the function
		add(other, h.code[0].Addr+9, h.slots[n])
	}
}

func writeProbeList(h *hooked, trampoline uint64, which []int) {
	h.probeList("kretprobe_instance", "fp", "kretprobe_instances.first", trampoline, which)
}

func writeRethooks(h *hooked, trampoline uint64, which []int) {
	h.probeList("rethook_node", "frame", "rethooks.first", trampoline, which)
}

func (h *hooked) probeList(tag, frame, head string, trampoline uint64, which []int) {
	first := uint64(0)
	for i := len(which) - 1; i >= 0; i-- {
		for _, ret := range []uint64{h.real[which[i]], trampoline} {
			o := h.Alloc(tag).Set("ret_addr", ret).Set(frame, h.slots[which[i]])
			h.PutUint64(o.At("llist.next"), first)
			first = o.At("llist.next")
		}
	}
	h.task.Set(head, first)
}

// check unwinds the task: all functions are found, and those whose return
// addresses were replaced are marked.
func (h *hooked) check(t *testing.T, hook string, which []int) {
	t.Helper()
	k, tracer, tk := h.open(t)
	trace := tracer.Sleeping(tk, unwind.Options{})
	names := functions(k, trace.Frames)
	var marked []int
	for i := range trace.Frames {
		if trace.Frames[i].Hooked == hook {
			marked = append(marked, i-1) // what was replaced is the callee's
		}
	}
	if !slices.Equal(names, hookedNames) || !slices.Equal(marked, which) || trace.End != unwind.EndThread || len(trace.Faults) > 0 {
		t.Errorf("%q, hooked %v, %s: %v", names, marked, trace.End, trace.Err)
	}
	// By a search alone they are found too.
	scan := tracer.Sleeping(tk, unwind.Options{Scan: true})
	if names := functions(k, scan.Frames); !slices.Equal(names, hookedNames) {
		t.Errorf("by a search: %q", names)
	}
}

// open opens the kernel and the task.
func (h *hooked) open(t *testing.T) (*kernel.Kernel, *unwind.Tracer, *task.Task) {
	t.Helper()
	image, err := h.Image()
	if err != nil {
		t.Fatal(err)
	}
	info, err := h.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tracer, err := unwind.New(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	tk, err := tasks.At(h.task.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return k, tracer, tk
}

// TestHookTogether: a function that is traced and probed has one trampoline, which stands
// for the other.
func TestHookTogether(t *testing.T) {
	h := newHooked(synthetic.V7().Extend(graphShort).Extend(rethook), "return_to_handler")
	h.Func("arch_rethook_trampoline", make([]byte, 32))
	probe, _ := h.Symbol("arch_rethook_trampoline")
	writeRethooks(h, probe, []int{2})
	h.real[2] = probe
	writeGraphShadow(h, []int{2})
	h.replace("return_to_handler", 2)
	h.check(t, "function graph, kretprobe", []int{2})
}

// TestHookLost: where nothing is put away for a trampoline, it stays and says so. What
// called is found by the frame pointers.
func TestHookLost(t *testing.T) {
	h := newHooked(synthetic.V7().Extend(graphShort), "return_to_handler")
	h.replace("return_to_handler", 2)
	k, tracer, tk := h.open(t)
	trace := tracer.Sleeping(tk, unwind.Options{})
	want := slices.Clone(hookedNames)
	want[3] = "return_to_handler"
	if names := functions(k, trace.Frames); !slices.Equal(names, want) {
		t.Fatalf("%q, %s %v; want %q", names, trace.End, trace.Err, want)
	}
	if f := &trace.Frames[3]; f.Hooked != "function graph" || f.Note == "" || trace.Frames[4].Sure == unwind.Certain {
		t.Errorf("the trampoline's frame is %+v, the next %s", f, trace.Frames[4].Sure)
	}
}

// TestTrampolineRuns: a processor in a trampoline, or in what that calls. The function
// that returned to it is not on the stack any more.
func TestTrampolineRuns(t *testing.T) {
	el9 := synthetic.EL9()
	for _, tc := range []struct {
		layout     *synthetic.Layout
		trampoline string
		write      func(h *hooked, addr uint64)
	}{
		{synthetic.V5_10().Extend(graphRetp), "return_to_handler", func(h *hooked, _ uint64) { writeGraphArray(h, []int{2}) }},
		{synthetic.V7().Extend(graphShort), "return_to_handler", func(h *hooked, _ uint64) { writeGraphShadow(h, []int{2}) }},
		{synthetic.V5_10().Extend(probeFP), "kretprobe_trampoline", func(h *hooked, addr uint64) { writeProbeTable(h, addr, []int{2}) }},
		{synthetic.EL9().Extend(fmt.Sprintf(probeTask, taskSize(el9)+8, taskSize(el9))), "__kretprobe_trampoline", func(h *hooked, addr uint64) { writeProbeList(h, addr, []int{2}) }},
		{synthetic.V6_1().Extend(rethook), "arch_rethook_trampoline", func(h *hooked, addr uint64) { writeRethooks(h, addr, []int{2}) }},
	} {
		for _, deep := range []bool{false, true} {
			h := newHooked(tc.layout, tc.trampoline)
			handler := h.NewCode("handler", 32).Enter(0).Nop(8).Leave()
			addr, _ := h.Symbol(tc.trampoline)
			tc.write(h, addr)
			sp, bp := h.slots[2]+8, h.Uint64(h.slots[2]-8) // once the function has returned
			regs := map[string]uint64{"ip": addr + 12, "sp": sp - 0x18, "bp": bp}
			want := []string{tc.trampoline, "middle", "outer"}
			if deep {
				h.PutUint64(sp-0x20, addr+16)
				h.PutUint64(sp-0x28, bp)
				regs = map[string]uint64{"ip": handler.Addr + 8, "sp": sp - 0x28, "bp": sp - 0x28}
				want = append([]string{"handler"}, want...)
			}
			k, tracer, tk := h.open(t)
			trace := tracer.Running(tk, 0, registers(t, tracer, regs), unwind.Options{})
			if names := functions(k, trace.Frames); !slices.Equal(names, want) || trace.End != unwind.EndThread || len(trace.Faults) > 0 {
				t.Errorf("%s, %s: %q, %s %v %v; want %q", tc.layout.Name, tc.trampoline, names, trace.End, trace.Err, trace.Faults, want)
			}
		}
	}
}

// registers are those of a processor in the kernel.
func registers(t *testing.T, tracer *unwind.Tracer, values map[string]uint64) (r arch.Registers) {
	t.Helper()
	values["cs"], values["flags"] = 0x10, 0x246
	for name, v := range values {
		reg, ok := tracer.RegisterFile().ByName(name)
		if !ok {
			t.Fatalf("there is no register %s", name)
		}
		r.Set(reg, v)
	}
	return r
}
