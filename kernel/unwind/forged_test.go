package unwind

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/task"
)

// overlay is the memory of a dump with some words replaced, and some pages taken
// away.
type overlay struct {
	*kernel.Kernel
	words map[uint64]uint64
	gone  map[uint64]bool // pages
}

var errExcluded = errors.New("excluded in the test")

func (o *overlay) View(virt uint64, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := o.Read(b, virt)
	return b, err
}

func (o *overlay) Read(b []byte, virt uint64) (int, error) {
	for at := virt &^ (pageSize - 1); at < virt+uint64(len(b)); at += pageSize {
		if o.gone[at] {
			return 0, errExcluded
		}
	}
	n, err := o.Kernel.Read(b, virt)
	for i := range b {
		at := virt + uint64(i)
		if v, ok := o.words[at&^7]; ok {
			b[i] = byte(v >> (8 * (at & 7)))
			n, err = len(b), nil
		}
	}
	return n, err
}

func (o *overlay) put(addr uint64, values ...uint64) {
	for i, v := range values {
		o.words[addr+uint64(8*i)] = v
	}
}

// putRegs writes a struct pt_regs.
func (o *overlay) putRegs(addr uint64, r *arch.Registers) {
	for i, reg := range (amd64.Arch{}).Registers().Order {
		v, _ := r.Get(reg)
		o.put(addr+uint64(8*i), v)
	}
}

// scene is a task of the dump that sleeps, and that the tests make run.
type scene struct {
	t     *testing.T
	tr    *Tracer
	mem   *overlay
	task  *task.Task
	trace Trace // its stack as it is
}

func newScene(t *testing.T) *scene {
	k, tr := openTracer(t)
	s := &scene{t: t, tr: tr, mem: &overlay{Kernel: k, words: map[uint64]uint64{}, gone: map[uint64]bool{}}}
	tr.mem = s.mem
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		if tk.Comm == "mp/mutex.wait" {
			s.task, s.trace = tk, tr.Sleeping(tk, Options{Registers: true})
		}
	}
	if s.task == nil || len(s.trace.Frames) < 5 {
		t.Fatal("the fixture has no task mp/mutex.wait")
	}
	return s
}

// at makes the registers of the task at one of its frames.
func (s *scene) at(i int) arch.Registers {
	f := &s.trace.Frames[i]
	r := f.Registers
	r.Set(amd64.IP, f.PC)
	r.Set(amd64.SP, f.SP)
	r.Set(amd64.CS, 0x10)
	r.Set(amd64.SS, 0x18)
	r.Set(amd64.Flags, 0x202)
	return r
}

// entry finds an instruction of entry code behind a call, of which ORC says that
// a whole struct pt_regs lies at its stack pointer.
func (s *scene) entry(name string) uint64 {
	return s.find(name, func(r orcRule) bool { return r.kind == orcRegs && r.spReg == orcRegSP && r.spOffset == 0 })
}

func (s *scene) find(name string, is func(orcRule) bool) uint64 {
	sym, ok := s.tr.k.Info().Symbols().Lookup(name)
	if !ok {
		s.t.Fatalf("the fixture's kernel has no %s", name)
	}
	start := s.tr.k.Runtime(sym.Addr)
	for off := uint64(1); off < 1024; off++ {
		if r, ok := ofX86(s.tr).orc.rule(s.tr.text, start+off); ok && is(r) {
			return start + off
		}
	}
	s.t.Fatalf("no such instruction in %s", name)
	return 0
}

func (s *scene) stack(cpu int, name string) Stack {
	for _, st := range s.tr.cpuStacks(cpu) {
		if st.Name == name {
			return st
		}
	}
	s.t.Fatalf("CPU %d has no %s stack", cpu, name)
	return Stack{}
}

// run walks from an instruction, and checks that the stack from frame on is that
// of the task, and reached through an exception.
func (s *scene) run(cpu int, pc, sp uint64, behind, frame int) Trace {
	s.t.Helper()
	var r arch.Registers
	r.Set(amd64.IP, pc)
	r.Set(amd64.SP, sp)
	r.Set(amd64.CS, 0x10)
	trace := s.tr.Running(s.task, cpu, r, Options{})
	if !trace.Complete() || len(trace.Frames) != behind+len(s.trace.Frames)-frame {
		s.t.Errorf("%d frames, %s, %v, %v; want %d before %d", len(trace.Frames), trace.End, trace.Err, trace.Faults, behind, len(s.trace.Frames)-frame)
		return trace
	}
	for i := range s.trace.Frames[frame:] {
		got, want := &trace.Frames[behind+i], &s.trace.Frames[frame+i]
		if got.PC != want.PC || got.SP != want.SP || got.Sure != Certain {
			s.t.Errorf("frame %d is at %#x with sp %#x (%s), want %#x and %#x", behind+i, got.PC, got.SP, got.Sure, want.PC, want.SP)
		}
	}
	if e := trace.Frames[behind-1].Exception; e == nil || e.User {
		s.t.Errorf("frame %d has no exception", behind-1)
	}
	return trace
}

// TestNMI interrupts the task by an NMI, whose stack is a processor's own.
func TestNMI(t *testing.T) {
	s := newScene(t)
	nmi := s.stack(1, "NMI")
	at := nmi.End - 0x400
	regs := s.at(2)
	s.mem.putRegs(at, &regs)
	trace := s.run(1, s.entry("asm_exc_nmi"), at, 1, 2)
	if trace.Frames[0].Stack.Name != "NMI" || trace.Frames[1].Stack.Name != "task" || trace.Frames[1].Method != ByException {
		t.Errorf("the stacks are %+v and %+v", trace.Frames[0].Stack, trace.Frames[1].Stack)
	}
}

// TestExceptionStacks: the other exceptions that have stacks of their own.
func TestExceptionStacks(t *testing.T) {
	// The fixture's kernel handles no machine checks, but has their stack: code of the
	// same form stands for theirs.
	for name, entry := range map[string]string{"#DF": "asm_exc_double_fault", "#DB": "asm_exc_debug", "#MC": "asm_exc_double_fault"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			at := s.stack(0, name).End - 0x200
			regs := s.at(2)
			s.mem.putRegs(at, &regs)
			trace := s.run(0, s.entry(entry), at, 1, 2)
			if got := trace.Frames[0].Stack.Name; got != name {
				t.Errorf("the stack is %s", got)
			}
		})
	}
}

// TestEntryStack: an NMI that comes when an exception has just entered from user
// mode, on the small stack that entry code begins on.
func TestEntryStack(t *testing.T) {
	s := newScene(t)
	nmi, entry := s.stack(1, "NMI"), s.stack(1, "entry")
	pc := s.find("asm_exc_page_fault", func(r orcRule) bool { return r.kind == orcIret && r.spReg == orcRegSP })
	rule, _ := ofX86(s.tr).orc.rule(s.tr.text, pc)
	sp := entry.End - 40 - uint64(int64(rule.spOffset))
	s.mem.put(entry.End-40, 0x401234, 0x33, 0x246, 0x7fff00001000, 0x2b)
	var regs arch.Registers
	for reg, v := range map[arch.Reg]uint64{amd64.IP: pc, amd64.SP: sp, amd64.CS: 0x10, amd64.SS: 0x18, amd64.Flags: 2} {
		regs.Set(reg, v)
	}
	s.mem.putRegs(nmi.End-0x300, &regs)
	var r arch.Registers
	r.Set(amd64.IP, s.entry("asm_exc_nmi"))
	r.Set(amd64.SP, nmi.End-0x300)
	r.Set(amd64.CS, 0x10)
	trace := s.tr.Running(s.task, 1, r, Options{})
	if trace.End != EndUser || len(trace.Frames) != 2 || trace.Frames[1].Stack.Name != "entry" || trace.User == nil {
		t.Fatalf("%d frames, %s, %v", len(trace.Frames), trace.End, trace.Err)
	}
	if ip, _ := trace.User.Registers.Get(amd64.IP); ip != 0x401234 {
		t.Errorf("user mode was at %#x", ip)
	}
}

// TestSoftirqStack: the kernel itself goes to the stack for interrupts, to handle
// what they left.
func TestSoftirqStack(t *testing.T) {
	s := newScene(t)
	irq := s.stack(1, "IRQ")
	pc := uint64(0)
	for _, name := range []string{"do_softirq.part.0", "do_softirq", "do_softirq_own_stack"} {
		if _, ok := s.tr.k.Info().Symbols().Lookup(name); !ok || pc != 0 {
			continue
		}
		pc = s.find(name, func(r orcRule) bool { return r.kind == orcCall && r.spReg == orcRegSPIndirect })
	}
	if pc == 0 {
		t.Fatal("the fixture's kernel has none of the functions that go to the stack for softirqs")
	}
	rule, _ := ofX86(s.tr).orc.rule(s.tr.text, pc)
	caller := s.trace.Frames[2]
	s.mem.put(irq.End-8, caller.Slot+8-uint64(int64(rule.spOffset)))
	var r arch.Registers
	r.Set(amd64.IP, pc)
	r.Set(amd64.SP, irq.End-8)
	r.Set(amd64.CS, 0x10)
	trace := s.tr.Running(s.task, 1, r, Options{})
	if !trace.Complete() || len(trace.Frames) != 1+len(s.trace.Frames)-2 || trace.Frames[0].Stack.Name != "IRQ" {
		t.Fatalf("%d frames, %s, %v, %v", len(trace.Frames), trace.End, trace.Err, trace.Faults)
	}
	for i := range s.trace.Frames[2:] {
		if got, want := &trace.Frames[1+i], &s.trace.Frames[2+i]; got.PC != want.PC || got.SP != want.SP || got.Stack.Name != "task" {
			t.Errorf("frame %d is at %#x with sp %#x, want %#x and %#x", 1+i, got.PC, got.SP, want.PC, want.SP)
		}
	}
}

// TestInterruptStack interrupts the task, whose handler then runs on the
// processor's stack for interrupts: the word at its end leads back.
func TestInterruptStack(t *testing.T) {
	s := newScene(t)
	irq := s.stack(1, "IRQ")
	regs := s.at(2)
	below := s.trace.Frames[2].SP - 0x400
	s.mem.putRegs(below, &regs)
	s.mem.put(below-8, s.entry("asm_sysvec_apic_timer_interrupt")+1)
	pc := s.find("sysvec_apic_timer_interrupt", func(r orcRule) bool { return r.kind == orcCall && r.spReg == orcRegSPIndirect })
	rule, _ := ofX86(s.tr).orc.rule(s.tr.text, pc)
	s.mem.put(irq.End-8, below-uint64(int64(rule.spOffset)))
	trace := s.run(1, pc, irq.End-8, 2, 2)
	if trace.Frames[0].Stack.Name != "IRQ" || trace.Frames[1].Stack.Name != "task" {
		t.Errorf("the stacks are %+v and %+v", trace.Frames[0].Stack, trace.Frames[1].Stack)
	}
}

// TestNestedExceptions: an NMI in a machine check in the task.
func TestNestedExceptions(t *testing.T) {
	s := newScene(t)
	nmi, mc := s.stack(0, "NMI"), s.stack(0, "#MC")
	inner := s.at(2)
	s.mem.putRegs(mc.End-0x300, &inner)
	outer := inner
	outer.Set(amd64.IP, s.entry("asm_exc_page_fault"))
	outer.Set(amd64.SP, mc.End-0x300)
	s.mem.putRegs(nmi.End-0x300, &outer)
	s.run(0, s.entry("asm_exc_nmi"), nmi.End-0x300, 2, 2)
}

// TestOverflow: the task's stack pointer has left its stack, and the double
// fault that this leads to has a stack of its own. What is on the task's stack is
// still found, by a search.
func TestOverflow(t *testing.T) {
	s := newScene(t)
	df := s.stack(1, "#DF")
	regs := s.at(4) // whose frame is found by the stack pointer
	regs.Set(amd64.SP, s.task.Stack-64)
	s.mem.putRegs(df.End-0x300, &regs)
	var r arch.Registers
	r.Set(amd64.IP, s.entry("asm_exc_double_fault"))
	r.Set(amd64.SP, df.End-0x300)
	r.Set(amd64.CS, 0x10)
	trace := s.tr.Running(s.task, 1, r, Options{})
	if len(trace.Faults) == 0 || trace.Complete() || len(trace.Frames) < 4 {
		t.Fatalf("%d frames, %s, %v, %v", len(trace.Frames), trace.End, trace.Err, trace.Faults)
	}
	last := trace.Frames[len(trace.Frames)-1]
	if want := s.trace.Frames[len(s.trace.Frames)-1]; last.PC != want.PC || last.Sure == Certain || trace.End != EndThread {
		t.Errorf("the last frame is at %#x (%s), want %#x", last.PC, last.Sure, want.PC)
	}
}

// TestDamagedStack writes over a return address: what lies before it stands, the
// rest is searched for, and says so.
func TestDamagedStack(t *testing.T) {
	s := newScene(t)
	s.mem.put(s.trace.Frames[3].Slot, 0x4141414141414141)
	trace := s.tr.Sleeping(s.task, Options{})
	if len(trace.Faults) != 1 || trace.End != EndThread || trace.Complete() {
		t.Fatalf("%s, %v, %v", trace.End, trace.Err, trace.Faults)
	}
	for i, f := range trace.Frames {
		if i < 3 && (f.PC != s.trace.Frames[i].PC || f.Sure != Certain) || i >= 3 && f.Sure == Certain {
			t.Errorf("frame %d is at %#x (%s)", i, f.PC, f.Sure)
		}
	}
}

// TestExcludedStack takes the page with the stack away.
func TestExcludedStack(t *testing.T) {
	s := newScene(t)
	s.mem.gone[s.task.SP&^(pageSize-1)] = true
	trace := s.tr.Sleeping(s.task, Options{})
	if trace.End != EndBroken || !errors.Is(trace.Err, errExcluded) {
		t.Errorf("%s, %v", trace.End, trace.Err)
	}
}

// TestLoop makes two frames lead to each other.
func TestLoop(t *testing.T) {
	s := newScene(t)
	nmi := s.stack(1, "NMI")
	at := nmi.End - 0x300
	regs := s.at(2)
	regs.Set(amd64.IP, s.entry("asm_exc_nmi"))
	regs.Set(amd64.SP, at)
	s.mem.putRegs(at, &regs)
	var r arch.Registers
	r.Set(amd64.IP, s.entry("asm_exc_nmi"))
	r.Set(amd64.SP, at)
	r.Set(amd64.CS, 0x10)
	trace := s.tr.Running(s.task, 1, r, Options{})
	if len(trace.Frames) > 20 || trace.Complete() {
		t.Errorf("%d frames, %s", len(trace.Frames), trace.End)
	}
}

// forger walks stacks of words that the test makes up, by the kernel's own tables.
type forger struct {
	k    *kernel.Kernel
	tr   *Tracer
	task *task.Task
}

func newForger(t testing.TB) *forger {
	k, tr := openTracer(t)
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{k: k, tr: tr}
	for f.task = range tasks.All() {
		break
	}
	return f
}

// walk puts words on the task's stack at a place, and walks from two addresses.
// Words that end in 7 become addresses on the stack, and those that end in 5
// addresses of code.
func (f *forger) walk(t *testing.T, words []uint64, seed uint64) {
	mem := &overlay{Kernel: f.k, words: map[uint64]uint64{}}
	f.tr.mem = mem
	text := f.tr.text.image[0]
	start := f.task.Stack + seed%f.tr.size&^7
	for i, v := range words {
		switch v & 7 {
		case 7:
			v = f.task.Stack + v%f.tr.size
		case 5:
			v = text.start + v%(text.end-text.start)
		}
		mem.words[start+uint64(8*i)] = v
	}
	var r arch.Registers
	for i := range arch.Reg(16) {
		r.Set(i, start+uint64(8*i))
	}
	r.Set(amd64.CS, 0x10)
	r.Set(amd64.SP, start)
	for _, opt := range []Options{{}, {Registers: true}, {Scan: true}} {
		for _, pc := range []uint64{seed, text.start + seed%(text.end-text.start)} {
			r.Set(amd64.IP, pc)
			if trace := f.tr.Running(f.task, 0, r, opt); len(trace.Frames) > defaultLimit {
				t.Fatalf("%d frames", len(trace.Frames))
			}
		}
	}
}

// TestForgedStacks walks stacks of random words, addresses of code and of the
// stack among them: whatever they hold, the walk ends.
func TestForgedStacks(t *testing.T) {
	f := newForger(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		words := make([]uint64, rng.IntN(600))
		for i := range words {
			words[i] = rng.Uint64()
		}
		f.walk(t, words, rng.Uint64())
	}
}

func FuzzStack(f *testing.F) {
	forger := newForger(f)
	f.Add([]byte("\x05\x10\x20\x30\x40\x50\x60\x70\x07\x11\x21\x31\x41\x51\x61\x71"), uint64(64))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		var words []uint64
		for ; len(data) >= 8 && len(words) < 1024; data = data[8:] {
			words = append(words, binary.LittleEndian.Uint64(data))
		}
		forger.walk(t, words, seed)
	})
}

// FuzzORCTable reads forged tables.
func FuzzORCTable(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x10\x00\x00\x00\x08\x00\x00\x00\x05\x00\x10\x00\x00\x00\x05\x00"), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		const base = 0xffffffff82000000
		table, err := readORC(bytesAt{base, data}, base, base+uint64(n)*4, int(n))
		if err != nil {
			return
		}
		for _, form := range []orcForm{{typeBits: 2, kinds: orcKindsOld, regs: &orcRegsOld, hasEnd: true, end: 10}, {typeBits: 3, kinds: orcKindsNew, regs: &orcRegsNew, hasSignal: true, signal: 11}} {
			for _, addr := range []uint64{0, base, table.base, table.base + 1<<31, table.base + uint64(table.offsets[len(table.offsets)-1])} {
				if e, ok := table.find(addr); ok {
					form.decode(e)
				}
			}
		}
		for i, off := range table.offsets {
			e, ok := table.find(table.base + uint64(off))
			if last := i+1 == len(table.offsets) || table.offsets[i+1] != off; last && (!ok || e != table.entries[i]) {
				t.Fatalf("entry %d is not found by its address", i)
			}
		}
	})
}

// bytesAt is memory that begins at an address.
type bytesAt struct {
	base uint64
	data []byte
}

func (m bytesAt) Read(b []byte, virt uint64) (int, error) {
	if virt < m.base || virt-m.base > uint64(len(m.data)) {
		return 0, errExcluded
	}
	n := copy(b, m.data[virt-m.base:])
	if n < len(b) {
		return n, errExcluded
	}
	return n, nil
}

// TestWithoutORC takes the kernel's own unwind data away, as in kernels before
// 4.14: by CFI, or by the functions' instructions alone, each stack is the same.
func TestWithoutORC(t *testing.T) {
	k, tr := openTracer(t)
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	orc := ofX86(tr).orc
	for _, how := range []string{"CFI", "code"} {
		if how == "code" {
			tr.cfiOnce.Do(func() {})
			tr.cfiData, tr.cfiErr = nil, errNoData
		}
		same, total := 0, 0
		for tk, err := range tasks.All() {
			if err != nil {
				t.Fatal(err)
			}
			if tk.OnCPU || tk.Stack == 0 {
				continue
			}
			ofX86(tr).orc = orc
			want := tr.Sleeping(tk, Options{})
			ofX86(tr).orc = nil
			got := tr.Sleeping(tk, Options{})
			total++
			if sameTrace(&got, &want) {
				same++
			} else {
				t.Logf("%d %s: %d frames, %s, %v, %v; with ORC %d, %s", tk.PID, tk.Comm, len(got.Frames), got.End, got.Err, got.Faults, len(want.Frames), want.End)
			}
		}
		t.Logf("by %s %d of %d stacks are the same", how, same, total)
		if total < 100 || same != total {
			t.Errorf("by %s %d of %d stacks are the same", how, same, total)
		}
	}
}

func sameTrace(a, b *Trace) bool {
	if len(a.Frames) != len(b.Frames) || a.End != b.End {
		return false
	}
	for i := range a.Frames {
		if a.Frames[i].PC != b.Frames[i].PC || a.Frames[i].SP != b.Frames[i].SP {
			return false
		}
	}
	return true
}

// ofX86 is what a tracer knows of x86-64.
func ofX86(t *Tracer) *amd64Machine { return t.machine.(*amd64Machine) }
