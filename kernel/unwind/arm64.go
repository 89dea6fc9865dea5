package unwind

import (
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/arm64"
	"github.com/kmortem/mortem/kernel/task"
)

// arm64Machine is arm64: every function that calls another keeps a frame record,
// the kernel is always built with frame pointers, and exceptions leave a record in
// their struct pt_regs.
type arm64Machine struct {
	k       *kernel.Kernel
	context contextLayout
	regs    ptRegsLayout
	entry   []span // code that is entered from user mode or by an exception
	begins  []span // nothing called it
	change  []span // cpu_switch_to, which changes stacks
	records arm64Records
	old     *arm64Old // until 4.13, nil since
	vectors uint64    // of exceptions, 0 if not known
}

// contextLayout is where a task that is switched out has its registers: struct
// cpu_context in its thread_struct (arch/arm64/include/asm/processor.h), since the
// port began.
type contextLayout struct {
	kernel.Layout `kernel:"struct task_struct"`
	X19           kernel.U64 `kernel:"thread.cpu_context.x19"`
	X20           kernel.U64 `kernel:"thread.cpu_context.x20"`
	X21           kernel.U64 `kernel:"thread.cpu_context.x21"`
	X22           kernel.U64 `kernel:"thread.cpu_context.x22"`
	X23           kernel.U64 `kernel:"thread.cpu_context.x23"`
	X24           kernel.U64 `kernel:"thread.cpu_context.x24"`
	X25           kernel.U64 `kernel:"thread.cpu_context.x25"`
	X26           kernel.U64 `kernel:"thread.cpu_context.x26"`
	X27           kernel.U64 `kernel:"thread.cpu_context.x27"`
	X28           kernel.U64 `kernel:"thread.cpu_context.x28"`
	FP            kernel.U64 `kernel:"thread.cpu_context.fp"`
	SP            kernel.U64 `kernel:"thread.cpu_context.sp"`
	PC            kernel.U64 `kernel:"thread.cpu_context.pc"`
}

// ptRegsLayout is the frame record in struct pt_regs, since 4.14. Since 6.14 it is
// a struct frame_record_meta, whose record is of zeros and whose type tells what
// lies around it.
type ptRegsLayout struct {
	kernel.Layout `kernel:"struct pt_regs"`
	Record        kernel.U64 `kernel:"stackframe[0]|stackframe.record.fp"`
	Type          kernel.U64 `kernel:"stackframe.type,optional"`
}

// Values of the type (arch/arm64/include/asm/stacktrace/frame.h).
const (
	metaFinal  = 1
	metaPtRegs = 2
)

// arm64Starts are where threads and processors begin; renamed in 5.12.
var arm64Starts = []string{
	"ret_from_fork", "__primary_switched", "__secondary_switched", "__primary_switch", "secondary_startup", "__enable_mmu",
}

func newARM64(t *Tracer) machine {
	m := &arm64Machine{k: t.k, begins: spans(t.k, arm64Starts), change: spans(t.k, []string{"cpu_switch_to"})}
	// Without these, tasks that were switched out and exceptions cannot be
	// told, and the steps that need them say so.
	_ = t.k.Resolve(&m.context)
	_ = t.k.Resolve(&m.regs)
	start, err1 := t.k.Symbol("__entry_text_start")
	end, err2 := t.k.Symbol("__entry_text_end")
	if err1 == nil && err2 == nil && start < end {
		m.entry = []span{{start, end}}
	}
	m.records.m = m
	if !m.regs.Record.Has() {
		m.old = newARM64Old(m)
	}
	if sym, ok := t.k.Info().Symbols().Lookup("vectors"); ok {
		m.vectors = t.k.Runtime(sym.Addr)
	}
	return m
}

const arm64ThreadSize = 16384 // with pages of 4 KiB and 16 KiB; more with KASAN and pages of 64 KiB

func (m *arm64Machine) threadSize() uint64 { return max(arm64ThreadSize, m.k.PageSize()) }

// sleeping implements machine: cpu_switch_to saved the registers.
func (m *arm64Machine) sleeping(w *walk, tk *task.Task) (state, error) {
	if !m.context.PC.Has() {
		return state{}, fmt.Errorf("struct task_struct has no thread.cpu_context")
	}
	b, err := m.k.Peek(tk.Addr, make([]byte, m.context.Span()))
	if err != nil {
		return state{}, fmt.Errorf("registers of task %d: %w", tk.PID, err)
	}
	var r arch.Registers
	c := &m.context
	for i, member := range []kernel.U64{c.X19, c.X20, c.X21, c.X22, c.X23, c.X24, c.X25, c.X26, c.X27, c.X28, c.FP} {
		r.Set(19+arch.Reg(i), member.Get(b))
	}
	r.Set(arm64.SP, c.SP.Get(b))
	r.Set(arm64.PC, m.k.CodeAddress(c.PC.Get(b)))
	s := w.t.fromRegisters(r)
	s.method = BySwitch
	// What a thread that has not run yet begins with was not called.
	s.exact = within(m.begins, s.pc)
	if !w.t.text.holds(s.pc) {
		return state{}, fmt.Errorf("task %d: what should be a return address at %#x is %#x", tk.PID, tk.Addr+c.PC.Offset(), s.pc)
	}
	return s, nil
}

// arm64Stacks are the variables that point to a processor's stacks, or are one
// (arch/arm64/include/asm/stacktrace.h).
var arm64Stacks = []struct {
	name, variable string
	is             bool   // the variable is the stack, else it points to its start
	size           uint64 // 0 for that of a task's
	old            bool   // only of kernels until 4.13, whose successors can have both
}{
	{name: "IRQ", variable: "irq_stack", is: true, old: true},
	{name: "IRQ", variable: "irq_stack_ptr"},
	{name: "overflow", variable: "overflow_stack", is: true, size: 4096},
	{name: "SDEI", variable: "sdei_stack_normal_ptr"},
	{name: "critical SDEI", variable: "sdei_stack_critical_ptr"},
}

// stacks implements machine. There is one more for calls of firmware (EFI), since
// 6.2, which only one processor uses at a time.
func (m *arm64Machine) stacks(t *Tracer, cpu int) []Stack {
	var list []Stack
	add := func(name string, start, size uint64) {
		if size == 0 {
			size = t.size
		}
		if start != 0 && start%16 == 0 && start+size > start {
			list = append(list, Stack{Name: name, CPU: cpu, Start: start, End: start + size})
		}
	}
	for _, s := range arm64Stacks {
		variable, err := m.k.Symbol(s.variable)
		if err != nil || s.old && m.old == nil {
			continue
		}
		at, err := m.k.PerCPU(variable, uint64(cpu))
		if err != nil {
			continue
		}
		if !s.is {
			if at, err = m.k.Uint64(at); err != nil {
				continue
			}
		}
		add(s.name, at, s.size)
	}
	if top, err := m.k.Object("efi_rt_stack_top").Uint(); err == nil && top > t.size {
		add("EFI", top-t.size, 0)
	}
	return list
}

// switched implements machine: cpu_switch_to loads the other task's registers before it
// changes the stack pointer.
func (m *arm64Machine) switched(w *walk, s *state) (state, bool) {
	fp, known := s.regs.Get(arm64.FP)
	if !within(m.change, s.pc) || !known || w.stackOf(fp) == w.own {
		return state{}, false
	}
	saved, err := m.sleeping(w, w.task)
	return saved, err == nil
}

func (m *arm64Machine) restored(*walk, uint64, uint64) (fp uint64, ok bool) { return 0, false }

// saved implements machine. Registers of user mode are at the end of a task's stack
// only; those of the kernel have a frame record since 4.14, which repeats two of them
// until 6.13.
func (m *arm64Machine) saved(w *walk, st *Stack, addr uint64, r *arch.Registers) bool {
	pc, _ := r.Get(arm64.PC)
	sp, _ := r.Get(arm64.SP)
	size := max(uint64(w.t.reg.PtRegsSize), uint64(m.regs.Size()))
	if addr%16 != 0 || sp%16 != 0 {
		return false
	}
	if w.t.arch.User(r) {
		user := arm64Records{m}.userTask(w) && st == w.own && st.End-addr >= size && st.End-addr < size+64
		return user && pc != 0 && pc>>52 == 0 && sp>>52 == 0
	}
	if !w.t.text.holds(m.k.CodeAddress(pc)) || w.stackOf(sp) == nil || !st.holds(addr, size) {
		return false
	}
	if st == w.stackOf(sp) && sp < addr+size {
		return false
	}
	return m.old != nil || m.ownRecord(w, addr, r)
}

// ownRecord tells whether the frame record in a struct pt_regs is that of an
// exception that left the registers there.
func (m *arm64Machine) ownRecord(w *walk, addr uint64, r *arch.Registers) bool {
	at := addr + m.regs.Record.Offset()
	fp, err1 := w.words.at(at)
	pc, err2 := w.words.at(at + 8)
	if err1 != nil || err2 != nil {
		return false
	}
	if m.regs.Type.Has() {
		kind, err := w.words.at(addr + m.regs.Type.Offset())
		return err == nil && kind == metaPtRegs && fp == 0 && pc == 0
	}
	wasFP, _ := r.Get(arm64.FP)
	wasPC, _ := r.Get(arm64.PC)
	return fp == wasFP && m.k.CodeAddress(pc) == m.k.CodeAddress(wasPC)
}

func (m *arm64Machine) tables() unwinder { return nil }

func (m *arm64Machine) entries() unwinder {
	if m.old != nil {
		return m.old
	}
	return arm64Entry{m}
}

func (m *arm64Machine) frames(s *state, _ bool) unwinder {
	if s.exact {
		return arm64Interrupted{m.records}
	}
	return m.records
}

// framesFirst: a function that called another has its record.
func (m *arm64Machine) framesFirst(s *state) bool { return !s.exact }

// mayHold implements machine: what is mapped, but not as memory.
func (m *arm64Machine) mayHold(addr uint64) bool {
	if addr%4 != 0 || addr>>63 == 0 {
		return false
	}
	phys, _, err := m.k.Translate(addr)
	if err != nil {
		return false
	}
	base, ok := m.k.PageOffset()
	return ok && addr-base != phys
}

// owns implements machine: notes do not have the register (TPIDR_EL1).
func (m *arm64Machine) owns(*dump.CPU, uint64) bool { return false }
