package unwind_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// Offsets in struct pt_regs.
const (
	regsBP, regsBX, regsDI, regsIP, regsCS, regsFlags, regsSP, regsSS, regsSize = 0x20, 0x28, 0x70, 0x80, 0x88, 0x90, 0x98, 0xa0, 0xa8
)

// Call frame information of entry code before 4.2, as its macros write it. The
// registers' numbers are those of DWARF: 3 rbx, 5 rdi, 6 rbp, 7 rsp, 16 rip.
var (
	// DEFAULT_FRAME 0: a whole struct pt_regs at the stack pointer.
	wholeFrame = []byte{0x0c, 7, 0xa8, 1, 0x80 | 16, 5, 0x80 | 7, 2, 0x80 | 5, 7, 0x80 | 3, 16, 0x80 | 6, 17, 0x80 | 12, 18, 0x80 | 13, 19, 0x80 | 14, 20, 0x80 | 15, 21}
	// SAVE_ARGS_IRQ (3.1 to 4.1): the CFA is what the word at the stack pointer
	// points to, and 0x88. BX and R12 to R15 are not saved.
	linkedFrame = []byte{0x0f, 6, 0x77, 0, 0x06, 0x08, 0x88, 0x22, 0x80 | 16, 5, 0x80 | 7, 2, 0x80 | 5, 7, 0x80 | 6, 17}
	// PARTIAL_FRAME 0 behind save_args (until 3.0): as if the stack had not been
	// left.
	partialFrame = []byte{0x0c, 7, 0x80, 1, 0x80 | 16, 5, 0x80 | 7, 2, 0x80 | 5, 7}
)

// seen is what there is to unwind by besides frame pointers.
type seen struct{ cfi, code bool }

// open opens the kernel, of whose code nothing is in the dump if it is not to be seen.
func (s seen) open(t *testing.T, k *synthetic.Kernel) *kernel.Kernel {
	t.Helper()
	d := k.Dump()
	if !s.code {
		start, ok1 := k.Symbol("_stext")
		end, ok2 := k.Symbol("_etext")
		if !ok1 || !ok2 {
			t.Fatal("no symbols of the text")
		}
		for at := start &^ 4095; at < end; at += 4096 {
			d.Exclude(at)
		}
	}
	image, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	info, err := k.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	kern, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return kern
}

// interrupted is a task that a processor ran, in spin, called by dput, when an
// interrupt or exception came.
type interrupted struct {
	*synthetic.Kernel
	seen   seen
	task   *synthetic.Task
	frames []synthetic.Frame
	base   uint64 // frame pointer of spin
	sp     uint64 // where the interrupt came
	tick   uint64 // where a function on the IRQ stack was interrupted
}

func newInterrupted(l *synthetic.Layout, seen seen) *interrupted {
	k := synthetic.New(l, synthetic.Machine{CPUs: 2, NoCFI: !seen.cfi})
	x := &interrupted{Kernel: k, seen: seen}
	spin := k.NewCode("spin", 32).Enter(0x28).Nop(5).Leave()
	dput := k.NewCode("dput", 64).Enter(0x20).Call("spin").Leave()
	x.task = k.Task("perl", 100, k.InitNet())
	x.frames = []synthetic.Frame{{In: spin, Offset: 12, Locals: 0x28}, {In: dput, Calls: "spin", Locals: 0x20}}
	x.base = x.task.RunOn(0, nil, x.frames...)[0]
	x.sp = x.base - 0x28
	return x
}

// push writes the registers of the interrupted function below an address, and
// returns where the struct pt_regs is.
func (x *interrupted) push(end uint64) uint64 {
	regs := end - regsSize
	for at := regs; at < end; at += 8 {
		x.PutUint64(at, 0x0bad0bad0bad0000+at&0xfff) // what was never written
	}
	for off, v := range map[uint64]uint64{regsDI: 0xd1, regsIP: x.frames[0].In.Addr + 12, regsCS: 0x10, regsFlags: 0x246,
		regsSP: x.sp, regsSS: 0x18, regsBP: x.base} {
		x.PutUint64(regs+off, v)
	}
	return regs
}

// handle runs C code on a stack: handler, called by function, which entry called.
// bp is what BP was in entry.
func (x *interrupted) handle(sp, bp uint64, entry *synthetic.Code, function string) {
	handler := x.NewCode("handler", 32).Enter(0).Nop(5).Leave()
	c := x.NewCode(function, 32).Enter(0).Call("handler").Leave()
	for _, v := range []uint64{entry.After(function), bp, c.After("handler"), sp - 16} {
		sp -= 8
		x.PutUint64(sp, v)
	}
	x.task.RunOn(0, map[string]uint64{"ip": handler.Addr + 8, "sp": sp, "bp": sp, "bx": 0xb1}, x.frames...)
}

// stack makes a per-CPU stack, and returns its end.
func (x *interrupted) stack() uint64 { return x.Virt(x.AllocPages(2)) + 16384 }

// irqStack makes the IRQ stack and returns where it begins.
func (x *interrupted) irqStack() uint64 {
	top := x.stack() - 64
	x.PutUint64(x.PerCPU("irq_stack_ptr", "char *")[0].Addr, top)
	return top
}

// istStacks makes the exception stacks of kernels until 3.14, and returns the end of
// that for NMIs.
func (x *interrupted) istStacks() (nmi uint64) {
	list := x.PerCPU("orig_ist", "unsigned long [7]")[0].Addr
	for i := range uint64(5) {
		end := x.Virt(x.AllocPages(1)) + 8192
		x.PutUint64(list+8*i, end)
		if i == 2 {
			nmi = end
		}
	}
	return nmi
}

// trace walks the stack of the first processor.
func (x *interrupted) trace(t *testing.T) (trace unwind.Trace, names, stacks []string) {
	t.Helper()
	k := x.seen.open(t, x.Kernel)
	tracer, err := unwind.New(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := tracer.CPUs(tasks)
	if err != nil {
		t.Fatal(err)
	}
	trace = tracer.CPU(&cpus[0], unwind.Options{Registers: true})
	names = functions(k, trace.Frames)
	for i := range trace.Frames {
		if s := trace.Frames[i].Stack; s != nil {
			stacks = append(stacks, s.Name)
		}
	}
	return trace, names, slices.Compact(stacks)
}

// TestOldEntryCode: interrupts, exceptions and NMIs of kernels whose entry code has
// call frame information: 2.6.32 and 3.10. By frame pointers alone the same is found, and
// is not certain.
func TestOldEntryCode(t *testing.T) {
	entry := func(x *interrupted, name, calls string, rules []byte) *synthetic.Code {
		return x.NewCode(name, 32).Call(calls).Nop(4).Rules(rules...)
	}
	el6, el7 := synthetic.EL6, synthetic.EL7
	for _, tc := range []struct {
		name   string
		layout func() *synthetic.Layout
		entry  string
		calls  string
		stacks []string
		saved  bool // whether BX is among the registers
		build  func(x *interrupted, entry, calls string)
	}{
		{"interrupt, 2.6.32", el6, "common_interrupt", "do_IRQ", []string{"IRQ", "task"}, false, func(x *interrupted, name, calls string) {
			regs := x.push(x.sp &^ 15)
			x.PutUint64(regs+regsBX, x.base) // BP, one place too high
			x.PutUint64(regs+regsBP, 0)
			top := x.irqStack()
			x.PutUint64(top-8, regs+regsBX)
			x.handle(top-8, regs+regsBX, entry(x, name, calls, partialFrame), calls)
		}},
		{"interrupt, 3.10", el7, "common_interrupt", "do_IRQ", []string{"IRQ", "task"}, false, func(x *interrupted, name, calls string) {
			regs := x.push(x.sp &^ 15)
			top := x.irqStack()
			x.PutUint64(top-8, regs+regsBP)
			x.handle(top-8, x.base, entry(x, name, calls, linkedFrame), calls)
		}},
		{"interrupt, 3.10 without CFI", el7, "common_interrupt", "do_IRQ", []string{"IRQ", "task"}, false, func(x *interrupted, name, calls string) {
			regs := x.push(x.sp &^ 15)
			top := x.irqStack()
			x.PutUint64(top-8, regs+regsBP)
			x.handle(top-8, x.base, x.NewCode(name, 32).Call(calls).Nop(4), calls)
		}},
		{"page fault, 2.6.32", el6, "page_fault", "do_page_fault", []string{"task"}, true, pageFault(entry)},
		{"page fault, 3.10", el7, "page_fault", "do_page_fault", []string{"task"}, true, pageFault(entry)},
		{"NMI, 2.6.32", el6, "nmi", "do_nmi", []string{"NMI", "task"}, true, nmi(entry)},
		{"NMI, 3.10", el7, "nmi", "do_nmi", []string{"NMI", "task"}, true, nmi(entry)},
		{"interrupt in an interrupt, 2.6.32", el6, "apic_timer_interrupt", "do_timer", []string{"IRQ", "task"}, false, func(x *interrupted, name, calls string) {
			sp, bp := x.softirq(regsBX, partialFrame)
			regs := x.pushAt(sp&^15, sp, bp)
			x.PutUint64(regs+regsBX, bp) // BP, one place too high
			x.PutUint64(regs+regsBP, 0)
			x.handle(regs+regsBX, regs+regsBX, entry(x, name, calls, partialFrame), calls)
		}},
		{"interrupt in an interrupt, 3.10", el7, "apic_timer_interrupt", "do_timer", []string{"IRQ", "task"}, false, func(x *interrupted, name, calls string) {
			sp, bp := x.softirq(regsBP, linkedFrame)
			regs := x.pushAt(sp&^15, sp, bp)
			x.PutUint64(regs-8, regs+regsBP)
			x.handle(regs-8, bp, entry(x, name, calls, linkedFrame), calls)
		}},
		{"NMI in an interrupt, 3.10", el7, "nmi", "do_nmi", []string{"NMI", "IRQ", "task"}, true, nmiInInterrupt(entry)},
	} {
		for _, seen := range []seen{{true, true}, {false, true}, {}} {
			t.Run(fmt.Sprintf("%s %+v", tc.name, seen), func(t *testing.T) {
				x := newInterrupted(tc.layout(), seen)
				tc.build(x, tc.entry, tc.calls)
				trace, names, stacks := x.trace(t)
				want := []string{"handler", tc.calls, tc.entry, "spin", "dput"}
				if strings.Contains(tc.name, " in an interrupt") {
					want = []string{"handler", tc.calls, tc.entry, "tick", "do_IRQ", "common_interrupt", "spin", "dput"}
				}
				if !slices.Equal(names, want) || !slices.Equal(stacks, tc.stacks) || trace.End != unwind.EndThread || len(trace.Faults) > 0 {
					t.Fatalf("%q on %q, %s: %v %v", names, stacks, trace.End, trace.Err, trace.Faults)
				}
				spin := &trace.Frames[len(want)-2]
				bx, known := spin.Registers.Get(amd64.BX)
				if bp, _ := spin.Registers.Get(amd64.BP); bp != x.base || spin.SP != x.sp {
					t.Errorf("spin has BP %#x and SP %#x, planned %#x and %#x", bp, spin.SP, x.base, x.sp)
				}
				if want := map[bool]uint64{true: 0xb0, false: 0xb1}[tc.saved]; known && bx != want {
					t.Errorf("BX of spin is %#x, planned %#x", bx, want)
				}
				if e := trace.Frames[len(want)-3].Exception; e == nil || e.User {
					t.Errorf("no exception: %+v", e)
				}
				for _, f := range trace.Frames[1:] {
					if (f.Sure == unwind.Certain) != seen.cfi && tc.saved {
						t.Errorf("%#x by %s is %s", f.PC, f.Method, f.Sure)
					}
				}
			})
		}
	}
}

type makeEntry func(x *interrupted, name, calls string, rules []byte) *synthetic.Code

// pageFault stays on the stack that it came on.
func pageFault(entry makeEntry) func(x *interrupted, name, calls string) {
	return func(x *interrupted, name, calls string) {
		regs := x.push(x.sp &^ 15)
		x.PutUint64(regs+regsBX, 0xb0)
		x.handle(regs, x.base, entry(x, name, calls, wholeFrame), calls)
	}
}

// nmi has a stack of its own.
func nmi(entry makeEntry) func(x *interrupted, name, calls string) {
	return func(x *interrupted, name, calls string) {
		regs := x.push(x.istStacks())
		x.PutUint64(regs+regsBX, 0xb0)
		x.handle(regs, x.base, entry(x, name, calls, wholeFrame), calls)
	}
}

// nmiInInterrupt comes while an interrupt is handled, on the IRQ stack.
func nmiInInterrupt(entry makeEntry) func(x *interrupted, name, calls string) {
	return func(x *interrupted, name, calls string) {
		sp, bp := x.softirq(regsBP, linkedFrame)
		regs := x.pushAt(x.istStacks(), sp, bp)
		x.PutUint64(regs+regsBX, 0xb0)
		x.handle(regs, bp, entry(x, name, calls, wholeFrame), calls)
	}
}

// softirq is a function on the IRQ stack, called from an interrupt's handler, with its
// stack and frame pointer. The entry code's link points to a place in the struct pt_regs.
func (x *interrupted) softirq(link uint64, rules []byte) (sp, bp uint64) {
	outer := x.push(x.sp &^ 15)
	top, before := x.irqStack(), x.base
	x.PutUint64(top-8, outer+link)
	if link == regsBX { // until 3.0, BP lies there and points there
		x.PutUint64(outer+regsBX, x.base)
		x.PutUint64(outer+regsBP, 0)
		before = outer + regsBX
	}
	irq := x.NewCode("common_interrupt", 32).Call("do_IRQ").Nop(4).Rules(rules...)
	tick := x.NewCode("tick", 32).Enter(0).Nop(5).Leave()
	c := x.NewCode("do_IRQ", 32).Enter(0).Call("tick").Leave()
	sp = top - 8
	for _, v := range []uint64{irq.After("do_IRQ"), before, c.After("tick"), sp - 16} {
		sp -= 8
		x.PutUint64(sp, v)
	}
	x.tick = tick.Addr + 8
	return sp, sp
}

// pushAt writes the registers of the function on the IRQ stack below an address.
func (x *interrupted) pushAt(end, sp, bp uint64) uint64 {
	regs := x.push(end)
	for off, v := range map[uint64]uint64{regsIP: x.tick, regsSP: sp, regsBP: bp} {
		x.PutUint64(regs+off, v)
	}
	return regs
}

// TestOldSystemCall: a task that sleeps in a system call, up to user mode, where the
// registers lie at the end of the stack. Where the scheduler goes on is told by its code.
func TestOldSystemCall(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.EL6(), synthetic.EL7()} {
		for _, seen := range []seen{{true, true}, {false, true}, {}} {
			t.Run(fmt.Sprintf("%s %+v", l.Name, seen), func(t *testing.T) { oldSystemCall(t, l, seen) })
		}
	}
}

func oldSystemCall(t *testing.T, l *synthetic.Layout, seen seen) {
	k := synthetic.New(l, synthetic.Machine{NoCFI: !seen.cfi})
	k.NewCode("__switch_to", 16).Enter(0).Leave()
	sched := k.NewCode("__schedule", 32).Enter(0x20).Call("__switch_to").Leave()
	wait := k.NewCode("sys_wait4", 32).Enter(0x10).Call("__schedule").Leave()
	// CFI_DEF_CFA rsp,0 and CFI_REGISTER rip,rcx: of no use behind the call.
	entry := k.NewCode("system_call_fastpath", 32).Call("sys_wait4").Nop(4).Rules(0x0c, 7, 0, 0x09, 16, 2)
	tk := k.Task("sh", 100, k.InitNet())
	bases := tk.Sleep(synthetic.Frame{In: sched, Calls: "__switch_to", Locals: 0x20}, synthetic.Frame{In: wait, Calls: "__schedule", Locals: 0x10})
	outer := bases[len(bases)-1]
	k.PutUint64(outer, 0x7fff1000) // BP of user mode
	k.PutUint64(outer+8, entry.After("sys_wait4"))
	regs := tk.Stack + 16384 - regsSize
	if outer+16 != regs {
		t.Fatalf("the outermost frame ends at %#x, the registers begin at %#x", outer+16, regs)
	}
	for off, v := range map[uint64]uint64{regsIP: 0x400123, regsCS: 0x33, regsFlags: 0x246, regsSP: 0x7fff0ff0, regsSS: 0x2b} {
		k.PutUint64(regs+off, v)
	}
	kern := seen.open(t, k)
	tracer, err := unwind.New(kern, nil)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(kern)
	if err != nil {
		t.Fatal(err)
	}
	at, err := tasks.At(tk.Addr)
	if err != nil {
		t.Fatal(err)
	}
	trace := tracer.Sleeping(at, unwind.Options{})
	want := []string{"__schedule", "sys_wait4", "system_call_fastpath"}
	if !seen.code {
		want = want[1:]
		if len(trace.Frames) == 0 || trace.Frames[0].Note == "" || trace.Frames[0].Sure == unwind.Certain {
			t.Errorf("nothing is said of the scheduler's frame: %+v", trace.Frames)
		}
	}
	if names := functions(kern, trace.Frames); !slices.Equal(names, want) || trace.End != unwind.EndUser || trace.User == nil {
		t.Fatalf("%q, %s: %v %v", names, trace.End, trace.Err, trace.Faults)
	}
	if ip, _ := trace.User.Registers.Get(amd64.IP); ip != 0x400123 {
		t.Errorf("user mode was at %#x", ip)
	}
	for _, f := range trace.Frames[1:] {
		if (f.Sure == unwind.Certain) != seen.cfi {
			t.Errorf("%#x by %s is %s", f.PC, f.Method, f.Sure)
		}
	}
}

func functions(k *kernel.Kernel, frames []unwind.Frame) []string {
	var names []string
	for i := range frames {
		sym, _, _ := k.SymbolAt(frames[i].PC)
		names = append(names, sym.Name)
	}
	return names
}

// TestNoFrameOfItsOwn: a processor in a function that has put no frame pointer of its
// own there, or has just pushed its caller's, where neither the code nor information on
// it is there. Its caller is found, and the others are as sure as without it.
func TestNoFrameOfItsOwn(t *testing.T) {
	for name, run := range map[string]func(x *interrupted, leaf, spin *synthetic.Code, sp uint64) map[string]uint64{
		"at its beginning": func(x *interrupted, leaf, spin *synthetic.Code, sp uint64) map[string]uint64 {
			x.PutUint64(sp-8, spin.After("memcpy"))
			return map[string]uint64{"ip": leaf.Addr, "sp": sp - 8, "bp": x.base}
		},
		"without a frame": func(x *interrupted, leaf, spin *synthetic.Code, sp uint64) map[string]uint64 {
			x.PutUint64(sp-8, spin.After("memcpy"))
			return map[string]uint64{"ip": leaf.Addr + 7, "sp": sp - 8, "bp": x.base}
		},
		"pushed": func(x *interrupted, leaf, spin *synthetic.Code, sp uint64) map[string]uint64 {
			x.PutUint64(sp-8, spin.After("memcpy"))
			x.PutUint64(sp-16, x.base)
			return map[string]uint64{"ip": leaf.Addr + 1, "sp": sp - 16, "bp": x.base}
		},
		"with a frame": func(x *interrupted, leaf, spin *synthetic.Code, sp uint64) map[string]uint64 {
			x.PutUint64(sp-8, spin.After("memcpy"))
			x.PutUint64(sp-16, x.base)
			x.PutUint64(sp-24, leaf.Addr) // a pointer to a function
			return map[string]uint64{"ip": leaf.Addr + 9, "sp": sp - 24, "bp": sp - 16}
		},
	} {
		for _, l := range []*synthetic.Layout{synthetic.EL6(), synthetic.EL7()} {
			t.Run(l.Name+" "+name, func(t *testing.T) {
				x := newInterrupted(l, seen{})
				leaf := x.NewCode("memcpy", 32).Nop(20)
				caller := x.NewCode("copy", 32).Enter(0x28).Call("memcpy").Leave()
				x.frames[0] = synthetic.Frame{In: caller, Calls: "memcpy", Locals: 0x28}
				regs := run(x, leaf, caller, x.sp)
				x.task.RunOn(0, regs, x.frames...)
				run(x, leaf, caller, x.sp) // RunOn has written the frames anew
				trace, names, _ := x.trace(t)
				if want := []string{"memcpy", "copy", "dput"}; !slices.Equal(names, want) || trace.End != unwind.EndThread {
					t.Fatalf("%q, %s %v; want %q", names, trace.End, trace.Err, want)
				}
				for _, f := range trace.Frames[1:] {
					if f.Sure != unwind.Likely {
						t.Errorf("%#x by %s is %s", f.PC, f.Method, f.Sure)
					}
				}
			})
		}
	}
}
