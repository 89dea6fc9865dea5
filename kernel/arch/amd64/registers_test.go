package amd64_test

import (
	"encoding/binary"
	"testing"

	"github.com/kmortem/mortem/kernel/arch/amd64"
)

// TestSane: registers as entry code saves them, with what FRED writes beside the segments,
// as struct fred_cs and fred_ss of Linux 6.9 have it.
func TestSane(t *testing.T) {
	const (
		level1, endbranch       = 1 << 16, 1 << 18
		sti, software, nmi      = 1 << 16, 1 << 17, 1 << 18
		vector14, vector2       = 14 << 32, 2 << 32
		hardware, other, isNMI  = 3 << 48, 7 << 48, 2 << 48
		long, length2           = 1 << 57, 2 << 60
		kernelCS, kernelSS      = 0x10, 0x18
		userCS, userCS32, users = 0x33, 0x23, 0x2b
	)
	for _, c := range []struct {
		what       string
		cs, ss     uint64
		sane, user bool
	}{
		{"interrupt", kernelCS, kernelSS, true, false},
		{"interrupt, with the null segment", kernelCS, 0, true, false},
		{"system call", userCS, users, true, true},
		{"32-bit system call", userCS32, users, true, true},
		{"FRED: system call", userCS, users | sti | software | 1<<32 | other | long | length2, true, true},
		{"FRED: page fault of the kernel", kernelCS | level1, kernelSS | sti | vector14 | hardware | long, true, false},
		{"FRED: NMI", kernelCS | endbranch, kernelSS | nmi | vector2 | isNMI | long, true, false},
		{"zeros", 0, 0, false, false},
		{"no segment below FRED's bits", level1, 0, false, false},
		{"privilege level 1", 0x11, kernelSS, false, false},
		{"an address", 0xffffffff81000010, kernelSS, false, false},
		{"an address for the stack segment", kernelCS, 0xffffffff81000018, false, false},
		{"bit 19", kernelCS | 1<<19, kernelSS, false, false},
		{"bit 31", kernelCS, kernelSS | 1<<31, false, false},
		{"bit 59", kernelCS, kernelSS | 1<<59, false, false},
	} {
		b := make([]byte, amd64.PtRegsSize)
		binary.LittleEndian.PutUint64(b[17*8:], c.cs)
		binary.LittleEndian.PutUint64(b[20*8:], c.ss)
		r := amd64.Arch{}.PtRegs(b, false)
		if got := (amd64.Arch{}).Sane(&r); got != c.sane {
			t.Errorf("%s: sane is %v", c.what, got)
		}
		if got := (amd64.Arch{}).User(&r); c.sane && got != c.user {
			t.Errorf("%s: of user mode is %v", c.what, got)
		}
	}
}
