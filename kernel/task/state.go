package task

import (
	"encoding/binary"
	"strings"

	"github.com/kmortem/mortem/kernel"
)

// Bits of a task's state that do not differ between the releases that have them
// (include/linux/sched.h).
const (
	stateInterruptible   = 0x1
	stateUninterruptible = 0x2
	stateStopped         = 0x4
	stateTraced          = 0x8
	stateNoLoad          = 0x400  // since 4.2
	stateNew             = 0x800  // since 4.8
	stateRTLock          = 0x1000 // since 5.15
	stateFrozen          = 0x8000 // since 6.1
)

// stateBits are the bits that were renumbered: EXIT_ZOMBIE and EXIT_DEAD changed
// places in 3.15, TASK_PARKED moved from 0x200 to 0x40 in 4.14, and what was
// there before, a dead task's own state, to 0x80.
type stateBits struct {
	zombie, dead, parked uint64
}

var (
	newBits = stateBits{zombie: 0x20, dead: 0x10, parked: 0x40}
	oldBits = stateBits{zombie: 0x10, dead: 0x20}
)

// findStateBits asks the kernel itself: task_state_array (fs/proc/array.c) has
// the names of the states by their bits, "R (running)" first, for no bit. Without
// it, kernels since 4.15 are told by their pid namespaces.
func findStateBits(k *kernel.Kernel) *stateBits {
	bits := oldBits
	if k.HasField("struct pid_namespace", "idr") || k.HasField("struct task_struct", "__state") {
		bits = newBits
	}
	array, err := k.Symbol("task_state_array")
	if err != nil {
		return &bits
	}
	found := stateBits{}
	for i, name := range stateNames(k, array) {
		bit := uint64(1) << i >> 1
		switch name[0] {
		case 'Z':
			found.zombie = bit
		case 'X':
			found.dead = bit
		case 'P':
			found.parked = bit
		}
	}
	if found.zombie == 0 || found.dead == 0 {
		return &bits
	}
	return &found
}

// stateNames reads task_state_array as far as it has names.
func stateNames(k *kernel.Kernel, array uint64) []string {
	const most, longest = 16, 32
	var list []string
	for i := range uint64(most) {
		var buf [8]byte
		if _, err := k.Read(buf[:], array+8*i); err != nil {
			break
		}
		name, err := k.CString(binary.LittleEndian.Uint64(buf[:]), longest)
		if err != nil || len(name) < 3 || !strings.HasPrefix(string(name[1:]), " (") {
			break
		}
		list = append(list, string(name))
	}
	return list
}

// Letter is the task's state in one letter: R running or runnable, S sleeping, D
// sleeping and not to be woken by signals, I an idle kernel thread, T stopped, t
// traced, P parked, N new, Z exited and not waited for, X exited and waited for. A
// task that the freezer holds has the letter D, as in /proc.
func (t *Task) Letter() string {
	bits := t.bits
	if bits == nil {
		bits = &newBits
	}
	switch s := t.State; {
	case t.ExitState&bits.zombie != 0:
		return "Z" // also with EXIT_DEAD: EXIT_TRACE
	case t.ExitState&bits.dead != 0:
		return "X"
	case s&(stateUninterruptible|stateNoLoad) == stateUninterruptible|stateNoLoad:
		return "I"
	case s&stateNew != 0:
		return "N"
	case s&(stateUninterruptible|stateFrozen|stateRTLock) != 0:
		return "D"
	case s&stateInterruptible != 0:
		return "S"
	case s&stateStopped != 0:
		return "T"
	case s&stateTraced != 0:
		return "t"
	case s&bits.parked != 0:
		return "P"
	}
	return "R"
}

// state is what a letter stands for, and the two letters that crash's ps has.
type state struct{ letter, crash, name string }

var states = []state{
	{"R", "RU", "running"}, {"S", "IN", "sleeping"}, {"D", "UN", "uninterruptible"}, {"I", "ID", "idle"},
	{"T", "ST", "stopped"}, {"t", "TR", "traced"}, {"P", "PA", "parked"}, {"N", "NE", "new"},
	{"Z", "ZO", "zombie"}, {"X", "DE", "dead"},
}

func (t *Task) stateEntry() state {
	letter := t.Letter()
	for _, s := range states {
		if s.letter == letter {
			return s
		}
	}
	return state{letter, "??", "unknown"}
}

// StateName is the task's state as a word.
func (t *Task) StateName() string { return t.stateEntry().name }

// CrashState is the task's state in the two letters of crash's ps: RU, IN, UN, ID,
// ST, TR, PA, NE, ZO, DE.
func (t *Task) CrashState() string { return t.stateEntry().crash }

// StateLetter turns a state's name into its letter: one of Letter's, one of
// CrashState's, or a word. It is false for what is no state.
func StateLetter(name string) (letter string, ok bool) {
	for _, s := range states {
		if name == s.letter || strings.EqualFold(name, s.crash) || strings.EqualFold(name, s.name) {
			return s.letter, true
		}
	}
	return "", false
}

// States are the letters of the states with their names: "D (uninterruptible)".
func States() []string {
	var list []string
	for _, s := range states {
		list = append(list, s.letter+" ("+s.name+")")
	}
	return list
}
