package unwind

import (
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/task"
)

// amd64Machine is x86-64: unwind tables (ORC) or else frame pointers, a stack for
// interrupts and some for exceptions that can happen anywhere.
type amd64Machine struct {
	orc   *orc // nil where the kernel has none
	start switchFrame
	entry *entryCode
}

func newAMD64(t *Tracer) machine {
	m := &amd64Machine{entry: newEntryCode(t.k)}
	m.orc, _ = newORC(t.k, t.modules)
	m.start.find(t.k)
	m.entry.keepsBP = m.start.old
	return m
}

func (m *amd64Machine) sleeping(w *walk, tk *task.Task) (state, error) { return m.start.state(w, tk) }

func (m *amd64Machine) threadSize() uint64 { return amd64ThreadSize }

func (m *amd64Machine) stacks(t *Tracer, cpu int) []Stack {
	list := t.irqStack(cpu)
	if more := t.entryAreaStacks(cpu); more != nil {
		return append(list, more...)
	}
	return append(list, t.istStacks(cpu)...)
}

func (m *amd64Machine) tables() unwinder {
	if m.orc == nil {
		return nil
	}
	return m.orc
}

func (m *amd64Machine) entries() unwinder {
	if m.orc != nil {
		return nil
	}
	return m.entry
}

// frames: kernels without ORC are mostly built with frame pointers, and so is
// code that is made at run time.
func (m *amd64Machine) frames(s *state, known bool) unwinder {
	switch {
	case m.orc != nil && known:
		return nil
	case s.exact:
		return interruptedPointer{}
	}
	return framePointer{}
}

func (m *amd64Machine) framesFirst(*state) bool { return false }

// switched: the unwind tables know that code.
func (m *amd64Machine) switched(w *walk, s *state) (state, bool) {
	if m.orc != nil {
		return state{}, false
	}
	return m.start.mid(w, s)
}

func (m *amd64Machine) restored(w *walk, pc, sp uint64) (fp uint64, ok bool) {
	return m.start.restored(w, pc, sp)
}

// Segments of Linux on x86-64 (arch/x86/include/asm/segment.h), and bits of the flags.
const (
	kernelCS, kernelSS = 0x10, 0x18
	userCS, userCS32   = 0x33, 0x23
	userSS             = 0x2b
	flagSet            = 1 << 1                                // always
	flagsClear         = 1<<3 | 1<<5 | 1<<15 | (1<<64 - 1<<22) // never
	interrupts         = 1 << 9                                // IF
	segment            = 1<<16 - 1                             // what FRED keeps above it is not looked at
	userLimit          = 1 << 56                               // of addresses, with page tables of 5 levels
)

// saved implements machine, by the segments and the flags.
func (m *amd64Machine) saved(w *walk, _ *Stack, _ uint64, r *arch.Registers) bool {
	flags, _ := r.Get(amd64.Flags)
	cs, _ := r.Get(amd64.CS)
	ss, _ := r.Get(amd64.SS)
	pc, _ := r.Get(amd64.IP)
	sp, _ := r.Get(amd64.SP)
	cs, ss = cs&segment, ss&segment
	if flags&flagSet == 0 || flags&flagsClear != 0 {
		return false
	}
	if cs == kernelCS {
		return (ss == 0 || ss == kernelSS) && w.t.text.holds(pc) && w.stackOf(sp) != nil
	}
	return (cs == userCS || cs == userCS32) && ss == userSS && flags&interrupts != 0 && pc < userLimit && sp < userLimit
}

// replaced: the key is where on the stack the return address lies, or the stack
// pointer behind it.
func (m *amd64Machine) replaced(at returnPlace, key uint64) bool {
	return key == at.slot || key == at.slot+8
}

// returned: the trampoline has pushed what it needs over the return address that led to
// it. How much that is, its code tells.
func (m *amd64Machine) returned(w *walk, s *state) (state, bool) {
	f, ok := byCode{}.layout(w, s)
	sp, known := s.regs.Get(amd64.SP)
	if !ok || !known || f.Base != amd64.SP {
		return state{}, false
	}
	caller := state{sp: sp + uint64(f.Offset) - 8}
	caller.slot = caller.sp - 8
	caller.regs.Set(amd64.SP, caller.sp)
	if bp, known := s.regs.Get(amd64.BP); known && f.Same(amd64.BP) {
		caller.regs.Set(amd64.BP, bp)
	}
	return caller, true
}

func (m *amd64Machine) graphPlace(e *graphEntry) kernel.U64 { return e.Place }

// owns: in the kernel GS points to the processor's per-CPU area, and in user mode
// the value to swap it with does.
func (m *amd64Machine) owns(note *dump.CPU, area uint64) bool {
	base, _ := note.Register("gs_base")
	swap, _ := note.Register("kernel_gs_base")
	return base == area || swap == area
}

// Where code is made at run time on x86-64: MODULES_VADDR to MODULES_END
// (Documentation/arch/x86/x86_64/mm.rst). Trampolines of ftrace and compiled BPF
// programs lie there, outside of any module.
const (
	modulesStart = 0xffffffff80000000
	modulesEnd   = 0xffffffffff000000
)

// mayHold tells whether an address can be code that was made at run time.
func (m *amd64Machine) mayHold(addr uint64) bool { return addr >= modulesStart && addr < modulesEnd }
