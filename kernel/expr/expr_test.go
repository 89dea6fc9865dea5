package expr_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/recorded"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/expr"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func eval(t testing.TB, k *kernel.Kernel, text string) string {
	t.Helper()
	v, err := expr.Eval(k, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var b bytes.Buffer
	if err := expr.Format(&b, k, v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// TestTheGuestsFacts evaluates what the guest and drgn said about the dump.
func TestTheGuestsFacts(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	truth := fixtures.Truth(t, "main")
	var drgn recorded.Drgn
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	first := drgn.SuperBlocks[0]
	some := drgn.Dcache.Sample[0]
	for text, want := range map[string]string{
		"init_task.comm":                           `"swapper/0"`,
		"init_task.pid":                            "0",
		"(&init_task)->comm":                       `"swapper/0"`,
		"init_task->comm[0] == 0x73":               "1",
		"init_uts_ns.name.release":                 strconv.Quote(truth.Uname["release"]),
		"init_uts_ns.name.nodename":                strconv.Quote(truth.Uname["nodename"]),
		"&init_task == &init_task":                 "1",
		"d_hash_shift":                             fmt.Sprint(drgn.Dcache.Shift),
		"(unsigned long)dentry_hashtable":          fmt.Sprint(number(t, drgn.Dcache.Table)),
		"1 + 2 * 3 - (4 << 1) / 2":                 "3",
		"~0 & 0xff":                                "255",
		"sizeof(struct list_head)":                 "16",
		"sizeof(struct hlist_head *)":              "8",
		"sizeof init_task.comm":                    "16",
		"(char)0x141 == 65":                        "1",
		"(signed char)-1 + 1":                      "0",
		"5 - 10":                                   "-5",
		"-7 / 2":                                   "-3",
		"-8 >> 1":                                  "-4",
		"-1 < 0":                                   "1",
		"-1 < 0u":                                  "0",
		"~0":                                       "-1",
		"~(unsigned int)0":                         "4294967295",
		"~(unsigned char)0":                        "-1",
		"(unsigned char)3 - 5":                     "-2",
		"(unsigned int)3 < -1":                     "0",
		"(unsigned long)3 < -1":                    "1",
		"(_Bool)2":                                 "true",
		"(_Bool)256 + 1":                           "2",
		"'\\0'":                                    "0",
		"'\\12' + '\\012'":                         "20",
		"sizeof(void)":                             "1",
		"(unsigned long)((void *)8 + 3)":           "11",
		"(unsigned long)&((char *)8)[3]":           "11",
		"1 + (struct list_head *)16":               "0x20",
		"(unsigned long)&((void *)8)[3]":           "11",
		"&init_task.comm[7] == 7 + init_task.comm": "1",
		"3 >= 3":                                   "1",
		"1 != 1":                                   "0",
		"!init_task.mm":                            "1", // it is a kernel thread
		"'a' + '\\n' - '\\x0a'":                    "97",
		"init_task.comm[0]":                        "115 's'",
		"init_task.comm[0]@3":                      `"swa"`,
		"*init_task.comm == 's'":                   "1",
		"&init_task.comm[7] - init_task.comm":      "7",
		"offsetof(struct task_struct, comm) == (unsigned long)&init_task.comm - (unsigned long)&init_task": "1",
		"offsetof(struct list_head, prev)": "8",
		"panic == &panic":                  "1",
		"*(unsigned long *)&init_task == (unsigned long)init_task.thread_info.flags":                                "1",
		"&((struct list_head *)0x1000)[2] - (struct list_head *)0x1000":                                             "2",
		"container_of(super_blocks.next, struct super_block, s_list)->s_id":                                         strconv.Quote(first.ID),
		"((struct dentry *)0x" + some.Dentry + ")->d_lockref.count":                                                 fmt.Sprint(some.Count),
		"*((struct dentry *)0x" + some.Dentry + ")->d_name.name == 0x0":                                             "0",
		"((struct dentry *)0x" + some.Dentry + ")->d_parent->d_sb->s_id":                                            strconv.Quote(some.SuperID),
		"((struct super_block *)0x" + first.Address + ")->s_type->name[0] == 0x" + fmt.Sprintf("%x", first.Type[0]): "1",
	} {
		if got := eval(t, k, text); got != want {
			t.Errorf("%s = %s; want %s", text, got, want)
		}
	}
}

func number(t *testing.T, hex string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTextOfUnknownLength: linux_banner is declared without its length.
func TestTextOfUnknownLength(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	u := fixtures.Truth(t, "main").Uname
	got := eval(t, k, "linux_banner")
	if !strings.HasPrefix(got, `"Linux version `+u["release"]+" (") || !strings.HasSuffix(got, u["version"]+`\n"`) {
		t.Errorf("linux_banner is %s, uname says %v", got, u)
	}
}

// TestPerCPU: the sum of a per-CPU counter is the guest's own figure.
func TestPerCPU(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	truth := fixtures.Truth(t, "main")
	sum := int64(0)
	for cpu := range truth.CPUs {
		n, err := strconv.ParseInt(eval(t, k, fmt.Sprintf("per_cpu(nr_dentry_negative, %d)", cpu)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	want, err := strconv.ParseInt(strings.Fields(truth.Late["/proc/sys/fs/dentry-state"])[4], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if sum < want-50 || sum > want+50 {
		t.Errorf("nr_dentry_negative sums up to %d; the guest says %d", sum, want)
	}
}

func TestErrors(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	for _, text := range []string{
		"", "init_task.", "init_task.comm[99]", "1 +", "(1", "1)", "init_task @", "*1", "&1", "sizeof(", "1/0", "0x", "09",
		"'ab'", "'", "1 && 2", "1 ? 2 : 3", "1@2", "init_task@0", "init_task@99999999", "offsetof(struct list_head)", "offsetof(struct task_struct, in_execve)", "swapper_pg_dir + 1",
		"offsetof(struct list_head, ne xt)", "sizeof(init_task.in_execve)", "&init_task + &init_task", "sizeof(struct nfs4_lock_state)", "(struct nfs4_lock_state *)16 + 1", "((struct nfs4_lock_state *)16)[1]", "nothing(1)", "per_cpu(1, 0)", "per_cpu(nr_dentry, 99)", "container_of(1, struct list_head)", "(struct dentry)1",
		strings.Repeat("(", 1000), strings.Repeat("*", 1000), strings.Repeat("-", 1000) + "1", strings.Repeat("1+", 5000),
	} {
		if v, err := expr.Eval(k, text); err == nil {
			t.Errorf("%.40q has a value: %v", text, v)
		}
	}
	for _, text := range []string{"no_such_variable", "(struct no_such_thing *)1", "init_task.no_such_member"} {
		if _, err := expr.Eval(k, text); !errors.Is(err, kernel.ErrNotFound) && !strings.Contains(err.Error(), "no_such_member") {
			t.Errorf("%s: %v", text, err)
		}
	}
	var read *kernel.ReadError
	if _, err := expr.Eval(k, "((struct dentry *)0x10)->d_parent->d_parent"); !errors.As(err, &read) {
		t.Errorf("reading through a wild pointer: %v", err)
	}
}

func FuzzEval(f *testing.F) {
	for _, seed := range []string{
		"init_task.comm", "*(struct list_head *)super_blocks.next", "per_cpu(nr_dentry, 1)", "1+2*3<<4",
		"container_of(super_blocks.next, struct super_block, s_list)->s_id", "sizeof(struct page) * 512", "&init_task[1]",
	} {
		f.Add(seed)
	}
	k := kerneltest.MainFS(f).Kernel()
	f.Fuzz(func(t *testing.T, text string) {
		v, err := expr.Eval(k, text)
		if err != nil {
			return
		}
		var b bytes.Buffer
		_ = expr.Format(&b, k, v) // unreadable memory is no fault here
		if b.Len() > 64<<20 {
			t.Errorf("%q prints %d bytes", text, b.Len())
		}
	})
}
