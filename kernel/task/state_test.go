package task

import "testing"

// TestLetters: the letters of states by their bits, as include/linux/sched.h and
// fs/proc/array.c have them, of kernels before and since the numbers changed.
func TestLetters(t *testing.T) {
	for _, c := range []struct {
		bits        *stateBits
		state, exit uint64
		letter      string
		crash       string
	}{
		{&newBits, 0, 0, "R", "RU"},
		{&newBits, 0x1, 0, "S", "IN"},
		{&newBits, 0x2001, 0, "S", "IN"}, // TASK_FREEZABLE
		{&newBits, 0x2, 0, "D", "UN"},
		{&newBits, 0x102, 0, "D", "UN"}, // TASK_KILLABLE
		{&newBits, 0x1000, 0, "D", "UN"},
		{&newBits, 0x8000, 0, "D", "UN"},
		{&newBits, 0x402, 0, "I", "ID"},
		{&newBits, 0x4, 0, "T", "ST"},
		{&newBits, 0x104, 0, "T", "ST"}, // __TASK_STOPPED | TASK_WAKEKILL
		{&newBits, 0x8, 0, "t", "TR"},
		{&newBits, 0x40, 0, "P", "PA"},
		{&newBits, 0x800, 0, "N", "NE"},
		{&newBits, 0x80, 0x20, "Z", "ZO"}, // TASK_DEAD
		{&newBits, 0x80, 0x10, "X", "DE"},
		{&newBits, 0x80, 0x30, "Z", "ZO"}, // EXIT_TRACE
		{&newBits, 0x200, 0, "R", "RU"},   // TASK_WAKING
		{&oldBits, 0x40, 0x10, "Z", "ZO"}, // TASK_DEAD
		{&oldBits, 0x40, 0x20, "X", "DE"},
		{&oldBits, 0x40, 0, "R", "RU"},
		{&stateBits{zombie: 0x10, dead: 0x20, parked: 0x200}, 0x200, 0, "P", "PA"}, // 3.9 to 3.14
		{&stateBits{zombie: 0x20, dead: 0x10, parked: 0x200}, 0x200, 0, "P", "PA"}, // 3.15 to 4.13
		{nil, 0x1, 0, "S", "IN"},
	} {
		tk := Task{State: c.state, ExitState: c.exit, bits: c.bits}
		if tk.Letter() != c.letter || tk.CrashState() != c.crash {
			t.Errorf("%+v: %s %s", c, tk.Letter(), tk.CrashState())
		}
	}
	for name, want := range map[string]string{"D": "D", "un": "D", "uninterruptible": "D", "t": "t", "T": "T", "zombie": "Z", "ID": "I"} {
		if got, ok := StateLetter(name); !ok || got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	if _, ok := StateLetter("Q"); ok {
		t.Error("Q is a state")
	}
}
