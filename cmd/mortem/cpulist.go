package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// cpuList is the value of a flag that takes processors: 0,2-3, as in the kernel's files.
type cpuList struct{ cpus *[]int }

var _ pflag.Value = cpuList{}

// maxCPU is one more than the highest number of a processor, by the highest
// CONFIG_NR_CPUS there is.
const maxCPU = 8192

// Set implements pflag.Value. A further flag adds to the list.
func (l cpuList) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || from > to || to >= maxCPU {
			return fmt.Errorf("%q is no list of processors such as 0,2-3", text)
		}
		for n := from; n <= to; n++ {
			*l.cpus = append(*l.cpus, int(n))
		}
	}
	return nil
}

// String implements pflag.Value.
func (l cpuList) String() string { return "" }

// Type implements pflag.Value.
func (l cpuList) Type() string { return "list" }
