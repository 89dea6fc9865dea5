package system

import "math/bits"

// taints are what the bits of tainted_mask mean (kernel/panic.c,
// Documentation/admin-guide/tainted-kernels.rst). Bits are never given another
// meaning.
var taints = []struct{ letter, meaning string }{
	{"P", "a module with a proprietary licence was loaded"},
	{"F", "a module was loaded by force"},
	{"S", "the processors are outside of their specification"},
	{"R", "a module was unloaded by force"},
	{"M", "a machine check exception was reported"},
	{"B", "a page was in a state that cannot be"},
	{"U", "a program asked for it"},
	{"D", "the kernel died before: there was an oops or BUG"},
	{"A", "an ACPI table was replaced"},
	{"W", "the kernel gave a warning before"},
	{"C", "a driver from staging was loaded"},
	{"I", "the kernel works around a severe fault of the firmware"},
	{"O", "a module built outside of the kernel's tree was loaded"},
	{"E", "an unsigned module was loaded"},
	{"L", "there was a soft lockup before"},
	{"K", "the kernel was live patched"},
	{"X", "the distribution's own mark"},
	{"T", "the kernel was built with randomised structures"},
	{"N", "an in-kernel test was run"},
	{"J", "a program changed a device's firmware state by fwctl"},
}

func decodeTaints(mask uint64) []Taint {
	list := []Taint{}
	for ; mask != 0; mask &= mask - 1 {
		bit := bits.TrailingZeros64(mask)
		t := Taint{Bit: bit, Meaning: "only the distribution knows"}
		if bit < len(taints) {
			t.Letter, t.Meaning = taints[bit].letter, taints[bit].meaning
		}
		list = append(list, t)
	}
	return list
}
