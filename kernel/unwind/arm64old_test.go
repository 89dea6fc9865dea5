package unwind

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/arm64"
)

// oldRegsSize is the size of struct pt_regs in 4.7 to 4.13, in bytes.
const oldRegsSize = 304

// old makes the scene's kernel one until 4.13: its entry code leaves no frame records.
// The fixture's has other names.
func (s *arm64Scene) old() {
	m := s.tr.machine.(*arm64Machine)
	m.regs = ptRegsLayout{}
	m.old = newARM64Old(m)
	m.old.size, m.old.user = oldRegsSize, spans(s.tr.k, []string{"el0t_64_sync"})
	m.old.kernel = spans(s.tr.k, []string{"el1h_64_irq", "el1h_64_sync"})
	// The task came from user mode, whose frame pointer is still there.
	last := &s.trace.Frames[len(s.trace.Frames)-1]
	s.mem.put(last.Slot-8, 0xffffa0b0c0d0)
	user := s.trace.User.Registers
	s.putOldRegs(s.task.Stack+s.tr.size-16-oldRegsSize, &user)
}

func (s *arm64Scene) putOldRegs(at uint64, r *arch.Registers) {
	for i, reg := range (arm64.Arch{}).Registers().Order {
		v, _ := r.Get(reg)
		s.mem.put(at+uint64(8*i), v)
	}
}

// oldInterrupt lets an exception come to frame i of the task. It returns the registers
// that the entry code saved, and where.
func (s *arm64Scene) oldInterrupt(i int) (saved arch.Registers, at uint64) {
	saved, at = s.at(i), s.trace.Frames[i].SP-oldRegsSize
	s.putOldRegs(at, &saved)
	return saved, at
}

// handler are the registers in what the entry code called, whose frame record is at a
// place and leads to that.
func (s *arm64Scene) handler(record, fp uint64, entry string) arch.Registers {
	s.mem.put(record, fp, s.symbol(entry, 20))
	var h arch.Registers
	h.Set(arm64.PC, s.symbol("gic_handle_irq", 8))
	h.Set(arm64.SP, record)
	h.Set(arm64.FP, record)
	h.Set(arm64.PState, 0x600000c5)
	return h
}

// TestARM64OldSleeping: a task in a system call leads to user mode.
func TestARM64OldSleeping(t *testing.T) {
	s := newARM64Scene(t)
	s.old()
	trace := s.tr.Sleeping(s.task, Options{})
	want, _ := s.trace.User.Registers.Get(arm64.PC)
	if got := pcs(trace.Frames); !trace.Complete() || trace.End != EndUser || !slices.Equal(got, s.outer(0)) {
		t.Fatalf("%#x, %s %v; want %#x", got, trace.End, trace.Err, s.outer(0))
	}
	if pc, _ := trace.User.Registers.Get(arm64.PC); pc != want {
		t.Errorf("user mode was at %#x, planned %#x", pc, want)
	}
}

// TestARM64OldException: an exception in the kernel, handled on the task's stack, or an
// interrupt on the one for these, leads to what it interrupted with its registers.
func TestARM64OldException(t *testing.T) {
	scene := newARM64Scene(t)
	for name, build := range map[string]func(s *arm64Scene, at, fp uint64) arch.Registers{
		"exception": func(s *arm64Scene, at, fp uint64) arch.Registers {
			return s.handler(at-0x200, fp, "el1h_64_sync")
		},
		"interrupt": func(s *arm64Scene, at, fp uint64) arch.Registers {
			end := uint64(0)
			for _, st := range s.tr.cpuStacks(1) {
				if st.Name == irqStackName {
					end = st.End
				}
			}
			s.mem.put(end-32, fp, at)
			return s.handler(end-0x300, end-32, "el1h_64_irq")
		},
	} {
		const i = 4
		s := scene.again(t)
		s.old()
		s.noCFI()
		saved, at := s.oldInterrupt(i)
		fp, _ := saved.Get(arm64.FP)
		trace := s.tr.Running(s.task, 1, build(s, at, fp), Options{})
		if !trace.Complete() || trace.End != EndUser || len(trace.Frames) < 3 || !slices.Equal(pcs(trace.Frames[2:]), s.outer(i)) {
			t.Fatalf("%s: %#x, %s %v %v; want %#x at the end", name, pcs(trace.Frames), trace.End, trace.Err, trace.Faults, s.outer(i))
		}
		x := trace.Frames[1].Exception
		if x == nil || x.User || x.Addr != at {
			t.Errorf("%s: the exception is %+v", name, x)
		}
	}
}

// TestARM64OldNoRegisters: where the registers are not found, the trace says so and does
// not leave out what was interrupted without a word.
func TestARM64OldNoRegisters(t *testing.T) {
	s := newARM64Scene(t)
	s.old()
	s.noCFI()
	saved, at := s.oldInterrupt(4)
	fp, _ := saved.Get(arm64.FP)
	s.mem.put(at+8*uint64(arm64.SP), 0) // its SP
	trace := s.tr.Running(s.task, 1, s.handler(at-0x200, fp, "el1h_64_sync"), Options{})
	if trace.Complete() {
		t.Errorf("%#x, %s", pcs(trace.Frames), trace.End)
	}
}
