package kernel_test

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/printk"
)

// TestNamesAreTheKernels compares names of addresses, such as
// function+0x1a/0x60, with those that the kernel printed into its log.
func TestNamesAreTheKernels(t *testing.T) {
	k := kerneltest.Kernel(t, fixtures.Unpacked(t, "kdump/vmcore.kdump"))
	log, err := printk.Open(k.Memory)
	if err != nil {
		t.Fatal(err)
	}
	printed := regexp.MustCompile(`([\w.]+)\+0x([0-9a-f]+)/0x([0-9a-f]+)`)
	compared := 0
	for record, err := range log.Records() {
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range printed.FindAllStringSubmatch(string(record.Text), -1) {
			addrs := k.Info().Symbols().LookupAll(m[1])
			offset, err := strconv.ParseUint(m[2], 16, 64)
			if err != nil || len(addrs) != 1 || m[2] == m[3] {
				continue // of a module, or several functions have the name, or a return address behind the end
			}
			compared++
			if got := k.SymbolName(k.Runtime(addrs[0].Addr + offset)); got != m[0] {
				t.Errorf("%#x is named %s, the kernel calls it %s", addrs[0].Addr+offset, got, m[0])
			}
		}
	}
	t.Logf("%d names compared", compared)
	if compared < 30 {
		t.Errorf("%d names were compared", compared)
	}
}
