package unwind

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/arm64"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

// arm64Scene is a task of the arm64 fixture that sleeps in a system call, and that
// the tests make run.
type arm64Scene struct {
	t     testing.TB
	tr    *Tracer
	mem   *overlay
	task  *task.Task
	trace Trace // its stack as it is
}

func newARM64Scene(t testing.TB) *arm64Scene {
	k := kerneltest.ARM64(t)
	tr, err := New(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &arm64Scene{t: t, tr: tr, mem: &overlay{Kernel: k, words: map[uint64]uint64{}, gone: map[uint64]bool{}}}
	tr.mem = s.mem
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		if s.task == nil && !tk.OnCPU && tk.Stack != 0 {
			if trace := tr.Sleeping(tk, Options{}); trace.End == EndUser && len(trace.Frames) > 8 {
				s.task, s.trace = tk, trace
			}
		}
	}
	if s.task == nil {
		t.Fatal("the fixture has no task that sleeps in a system call")
	}
	return s
}

// at makes the registers of the task as they are at one of its frames. The address is
// one behind a call, where a task can be interrupted too.
func (s *arm64Scene) at(i int) arch.Registers {
	f := &s.trace.Frames[i]
	r := f.Registers
	r.Set(arm64.PC, f.PC)
	r.Set(arm64.SP, f.SP)
	r.Set(arm64.PState, 0x60400005) // EL1h
	return r
}

// putRegs writes a struct pt_regs, with the frame record that entry code adds.
func (s *arm64Scene) putRegs(at uint64, r *arch.Registers) (record uint64) {
	for i, reg := range (arm64.Arch{}).Registers().Order {
		v, _ := r.Get(reg)
		s.mem.put(at+uint64(8*i), v)
	}
	record = at + s.tr.machine.(*arm64Machine).regs.Record.Offset()
	fp, _ := r.Get(arm64.FP)
	pc, _ := r.Get(arm64.PC)
	s.mem.put(record, fp, pc)
	return record
}

// symbol is an address in a function: behind its n-th instruction.
func (s *arm64Scene) symbol(name string, n uint64) uint64 {
	s.t.Helper()
	addr, err := s.tr.k.Symbol(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return addr + 4*n
}

// interrupt lets an exception come to the kernel in frame i of the task, and makes
// what its entry code and its handler put below. It returns the registers in the
// handler, whose frame record is at a place.
func (s *arm64Scene) interrupt(i int, handler string, record uint64) arch.Registers {
	r := s.at(i)
	regs := s.trace.Frames[i].SP - 0x150
	entry := s.putRegs(regs, &r)
	s.mem.put(record, entry, s.symbol("el1h_64_irq", 20))
	var h arch.Registers
	h.Set(arm64.PC, s.symbol(handler, 8))
	h.Set(arm64.SP, record)
	h.Set(arm64.FP, record)
	h.Set(arm64.PState, 0x600000c5)
	return h
}

// outer are the addresses of the task's frames from the i-th on.
func (s *arm64Scene) outer(i int) []uint64 { return pcs(s.trace.Frames[i:]) }

func pcs(frames []Frame) []uint64 {
	var list []uint64
	for _, f := range frames {
		list = append(list, f.PC)
	}
	return list
}

// TestARM64Exception: an interrupt in the kernel, handled on the task's own stack, on
// that for interrupts or on the one for overflows, leads back to what it interrupted,
// with all registers, and on to user mode.
func TestARM64Exception(t *testing.T) {
	for _, name := range []string{"task", "IRQ", "overflow"} {
		s := newARM64Scene(t)
		const i = 4
		record := s.trace.Frames[i].SP - 0x150 - 0x80
		for _, st := range s.tr.cpuStacks(1) {
			if st.Name == name {
				record = st.End - 0x100
			}
		}
		regs := s.interrupt(i, "gic_handle_irq", record)
		trace := s.tr.Running(s.task, 1, regs, Options{})
		if !trace.Complete() || trace.End != EndUser || len(trace.Frames) < 3 {
			t.Fatalf("%s: %s, %v %v, %d frames", name, trace.End, trace.Err, trace.Faults, len(trace.Frames))
		}
		x, want := trace.Frames[1].Exception, s.at(i)
		if x == nil || x.User {
			t.Fatalf("%s: the exception is %+v", name, x)
		}
		for _, reg := range s.tr.reg.Order {
			got, _ := x.Registers.Get(reg)
			if v, known := want.Get(reg); known && v != got {
				t.Errorf("%s: %s is %#x; want %#x", name, s.tr.reg.Name(reg), got, v)
			}
		}
		if got := pcs(trace.Frames[2:]); !slices.Equal(got, s.outer(i)) {
			t.Errorf("%s: interrupted %#x; want %#x", name, got, s.outer(i))
		}
		if st := trace.Frames[0].Stack; st == nil || st.Name != name {
			t.Errorf("the handler is on the stack %+v; want %s", st, name)
		}
	}
}

// TestARM64Signed: return addresses with any authentication code lead to the same
// functions.
func TestARM64Signed(t *testing.T) {
	s := newARM64Scene(t)
	rng := rand.New(rand.NewPCG(3, 4))
	signed := 0
	for i := range s.trace.Frames {
		if f := &s.trace.Frames[i]; f.Slot != 0 && f.Stack != nil {
			s.mem.put(f.Slot, f.PC&^(0xff7f<<48)|rng.Uint64()&(0xff7f<<48))
			signed++
		}
	}
	trace := s.tr.Sleeping(s.task, Options{})
	if !trace.Complete() || !slices.Equal(pcs(trace.Frames), s.outer(0)) || signed < 5 {
		t.Errorf("%d return addresses signed: %#x; want %#x", signed, pcs(trace.Frames), s.outer(0))
	}
}

// TestARM64Broken: a record that leads down or off the stack ends the trace there, or a
// search goes on and says so.
func TestARM64Broken(t *testing.T) {
	for name, value := range map[string]func(f *Frame, s *arm64Scene) uint64{
		"down":  func(f *Frame, _ *arm64Scene) uint64 { return f.Slot - 0x200 },
		"off":   func(*Frame, *arm64Scene) uint64 { return 0xffff800000001000 },
		"user":  func(*Frame, *arm64Scene) uint64 { return 0x7000 },
		"other": func(_ *Frame, s *arm64Scene) uint64 { return s.task.Stack + 0x10 },
	} {
		s := newARM64Scene(t)
		s.tr.cfiOnce.Do(func() {})
		s.tr.cfiData, s.tr.cfiErr = nil, errNoData
		f := &s.trace.Frames[3]
		s.mem.put(f.Slot-8, value(f, s)) // the caller's FP
		trace := s.tr.Sleeping(s.task, Options{})
		if trace.Complete() || len(trace.Frames) < 3 {
			t.Errorf("%s: %s with %d frames", name, trace.End, len(trace.Frames))
		}
		for _, f := range trace.Frames[min(4, len(trace.Frames)):] {
			if f.Sure == Certain {
				t.Errorf("%s: %#x behind the break is certain", name, f.PC)
			}
		}
	}
}

// arm64Walk puts words on the task's stack at a place, and walks from two addresses.
// Words that end in 7 become addresses on the stack, and those that end in 5 addresses
// of code.
func (s *arm64Scene) arm64Walk(words []uint64, seed uint64) {
	clear(s.mem.words)
	text := s.tr.text.image[0]
	start := s.task.Stack + seed%s.tr.size&^15
	for i, v := range words {
		switch v & 7 {
		case 7:
			v = s.task.Stack + v%s.tr.size&^7
		case 5:
			v = text.start + v%(text.end-text.start)&^3
		}
		s.mem.words[start+uint64(8*i)] = v
	}
	var r arch.Registers
	for i := range arch.Reg(31) {
		r.Set(i, start+uint64(16*i))
	}
	r.Set(arm64.PState, 5)
	r.Set(arm64.SP, start)
	vectors := s.tr.machine.(*arm64Machine).vectors
	for _, opt := range []Options{{}, {Registers: true}, {Scan: true}} {
		for _, pc := range []uint64{seed, text.start + seed%(text.end-text.start)&^3, vectors + seed%16*0x80} {
			r.Set(arm64.PC, pc)
			if trace := s.tr.Running(s.task, 0, r, opt); len(trace.Frames) > defaultLimit {
				s.t.Fatalf("%d frames", len(trace.Frames))
			}
		}
	}
}

// TestARM64ForgedStacks walks stacks of random words: whatever they hold, the walk
// ends.
func TestARM64ForgedStacks(t *testing.T) {
	s := newARM64Scene(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		words := make([]uint64, rng.IntN(600))
		for i := range words {
			words[i] = rng.Uint64()
		}
		s.arm64Walk(words, rng.Uint64())
	}
}

func FuzzARM64Stack(f *testing.F) {
	s := newARM64Scene(f)
	f.Add([]byte("\x07\x10\x20\x30\x40\x50\x60\x70\x05\x11\x21\x31\x41\x51\x61\x71"), uint64(64))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		var words []uint64
		for ; len(data) >= 8 && len(words) < 1024; data = data[8:] {
			words = append(words, binary.LittleEndian.Uint64(data))
		}
		s.t = t
		s.arm64Walk(words, seed)
	})
}
