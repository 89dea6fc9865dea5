package tasks

import (
	"fmt"
	"math/bits"
)

// signals are the names of the signals of x86-64 and arm64 by number (signal(7)).
var signals = []string{"", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
	"PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM",
	"PROF", "WINCH", "IO", "PWR", "SYS"}

// firstRealTime is SIGRTMIN as the kernel has it.
const firstRealTime = 32

// signalNames names the signals of a set, whose bit 0 is signal 1.
func signalNames(set uint64) []string {
	list := []string{}
	for ; set != 0; set &= set - 1 {
		n := bits.TrailingZeros64(set) + 1
		if n < len(signals) {
			list = append(list, "SIG"+signals[n])
		} else {
			list = append(list, fmt.Sprintf("SIGRT%d", n-firstRealTime))
		}
	}
	return list
}
