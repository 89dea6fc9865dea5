package hung

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// lines are what kernels of all times print: from their logs as users sent them to
// mailing lists, with other names and numbers where that says more.
var lines = []struct {
	release string
	text    string
	want    []Message
}{
	{"2.6.32", "INFO: task jbd2/sda1-8:437 blocked for more than 120 seconds.",
		[]Message{{Kind: HungTask, Subject: &Named{Comm: "jbd2/sda1-8", PID: 437}, Seconds: 120}}},
	{"6.1", "INFO: task kworker/3:1:46 blocked for more than 8 seconds.",
		[]Message{{Kind: HungTask, Subject: &Named{Comm: "kworker/3:1", PID: 46}, Seconds: 8}}},
	{"any: a hostile name", "INFO: task a:1 blocked for:77 blocked for more than 122 seconds.",
		[]Message{{Kind: HungTask, Subject: &Named{Comm: "a:1 blocked for", PID: 77}, Seconds: 122}}},
	{"6.18", "INFO: task dd:456 blocked in I/O wait for more than 122 seconds.",
		[]Message{{Kind: HungTask, Subject: &Named{Comm: "dd", PID: 456}, Seconds: 122, IOWait: true}}},
	{"6.16", "INFO: task udevd:5301 is blocked on a mutex likely owned by task kworker/u4:1:11.",
		[]Message{{Kind: Blocker, Subject: &Named{Comm: "udevd", PID: 5301}, Lock: "mutex", Owner: &Named{Comm: "kworker/u4:1", PID: 11}}}},
	{"6.16", "INFO: task cat:945 blocked on a semaphore likely last held by task cat:938",
		[]Message{{Kind: Blocker, Subject: &Named{Comm: "cat", PID: 945}, Lock: "semaphore", Owner: &Named{Comm: "cat", PID: 938}}}},
	{"6.16", "INFO: task cat:115 is blocked on a mutex, but the owner is not found.",
		[]Message{{Kind: Blocker, Subject: &Named{Comm: "cat", PID: 115}, Lock: "mutex", NoOwner: true}}},
	{"6.16", "INFO: task cat:115 is blocked on a semaphore, but the last holder is not found.",
		[]Message{{Kind: Blocker, Subject: &Named{Comm: "cat", PID: 115}, Lock: "semaphore", NoOwner: true}}},
	{"6.17", "INFO: task cat:7 <writer> blocked on an rw-semaphore likely owned by task cat:6 <reader>",
		[]Message{{Kind: Blocker, Subject: &Named{Comm: "cat", PID: 7, Mode: "writer"}, Lock: "rw-semaphore", Owner: &Named{Comm: "cat", PID: 6, Mode: "reader"}}}},
	{"2.6.32", "BUG: soft lockup - CPU#0 stuck for 61s! [mv:5593]",
		[]Message{{Kind: SoftLockup, CPUs: []int{0}, Seconds: 61, Subject: &Named{Comm: "mv", PID: 5593}}}},
	{"4.4", "NMI watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [NetworkManager:795]",
		[]Message{{Kind: SoftLockup, CPUs: []int{2}, Seconds: 22, Subject: &Named{Comm: "NetworkManager", PID: 795}}}},
	{"6.10", "watchdog: BUG: soft lockup - CPU#28 stuck for 22s! [kworker/28:1:1760]",
		[]Message{{Kind: SoftLockup, CPUs: []int{28}, Seconds: 22, Subject: &Named{Comm: "kworker/28:1", PID: 1760}}}},
	{"2.6.32", "BUG: NMI Watchdog detected LOCKUP on CPU1, ip ffffffff8100ada0, registers:", []Message{{Kind: HardLockup, CPUs: []int{1}}}},
	{"2.6.37", "NMI Watchdog detected LOCKUP on cpu 3", []Message{{Kind: HardLockup, CPUs: []int{3}}}},
	{"3.10", "Watchdog detected hard LOCKUP on cpu 5", []Message{{Kind: HardLockup, CPUs: []int{5}}}},
	{"4.18", "NMI watchdog: Watchdog detected hard LOCKUP on cpu 12", []Message{{Kind: HardLockup, CPUs: []int{12}}}},
	{"6.6", "watchdog: Watchdog detected hard LOCKUP on cpu 4", []Message{{Kind: HardLockup, CPUs: []int{4}}}},
	{"6.12", "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 4", []Message{{Kind: HardLockup, CPUs: []int{4}}}},
	{"2.6.32", "INFO: RCU detected CPU 2 stall (t=1000 jiffies)", []Message{{Kind: RCUStall, Flavour: "RCU", CPUs: []int{2}, Jiffies: 1000}}},
	{"2.6.31", "INFO: RCU detected CPU 0 stall (t=485140/3000 jiffies)", []Message{{Kind: RCUStall, Flavour: "RCU", CPUs: []int{0}, Jiffies: 3000}}},
	{"2.6.32", "INFO: RCU detected CPU stalls: 1 3 (detected by 0, t=60002 jiffies)", []Message{{Kind: RCUStall, Flavour: "RCU", CPUs: []int{1, 3}, Jiffies: 60002}}},
	{"2.6.38", "INFO: rcu_sched_state detected stalls on CPUs/tasks: { 3 5 P77} (detected by 2, t=2502 jiffies)",
		[]Message{{Kind: RCUStall, Flavour: "rcu_sched", CPUs: []int{3, 5}, PIDs: []int32{77}, Jiffies: 2502}}},
	{"3.0", "INFO: rcu_sched_state detected stall on CPU 2 (t=60000 jiffies)", []Message{{Kind: RCUStall, Flavour: "rcu_sched", CPUs: []int{2}, Jiffies: 60000}}},
	{"3.10", "INFO: rcu_sched self-detected stall on CPU { 7}  (t=60000 jiffies g=132 c=131 q=5)", []Message{{Kind: RCUStall, Flavour: "rcu_sched", CPUs: []int{7}, Jiffies: 60000}}},
	{"4.14", "INFO: rcu_sched self-detected stall on CPU\n\t3-....: (5594 ticks this GP) idle=75a/1/4611686018427387906 softirq=2787/2789 fqs=2625 \n\t (t=5253 jiffies g=4205 c=4204 q=12)",
		[]Message{{Kind: RCUStall, Flavour: "rcu_sched", CPUs: []int{3}, Jiffies: 5253}}},
	{"6.13", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\nrcu: \t0-...!: (3 ticks this GP) idle=50a4/1/0x4000000000000000 softirq=13521/13521 fqs=0\nanother CPU's word\nrcu: \tTasks blocked on level-0 rcu_node (CPUs 0-1): P5941 P12/3:b..l\nrcu: \t(detected by 1, t=10503 jiffies, g=9229, q=1722 ncpus=2)\nrcu: \t9-...!: (3 ticks this GP)",
		[]Message{{Kind: RCUStall, Flavour: "rcu_preempt", CPUs: []int{0}, PIDs: []int32{5941, 12}, Jiffies: 10503}}},
	{"6.1", "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 4-...D P4122 } 2641 jiffies s: 2877 root: 0x0/T",
		[]Message{{Kind: RCUStall, Flavour: "rcu_preempt", CPUs: []int{4}, PIDs: []int32{4122}, Jiffies: 2641}}},
	{"6.12", "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: {\n 0-....\n } 3899 jiffies s: 61477 root: 0x1/.",
		[]Message{{Kind: RCUStall, Flavour: "rcu_preempt", CPUs: []int{0}, Jiffies: 3899}}},
	{"5.10", "BUG: workqueue lockup - pool cpus=0,4-6 node=0 flags=0x0 nice=0 stuck for 59s!", []Message{{Kind: WorkqueueLockup, CPUs: []int{0, 4, 5, 6}, Seconds: 59}}},
	{"any", "Kernel panic - not syncing: hung_task: blocked tasks", []Message{{Kind: Panic}}},
	{"any", "Kernel panic - not syncing: softlockup: hung tasks", []Message{{Kind: Panic}}},
	{"3.10", "Kernel panic - not syncing: Watchdog detected hard LOCKUP on cpu 6", []Message{{Kind: Panic, CPUs: []int{6}}}},

	{"any: not these", "\"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.", nil},
	{"any: not these", "watchdog: hard lockup detector disabled", nil},
	{"any: not these", "rcu: \tRCU CPU stall warnings suppressed (rcu_cpu_stall_suppress).", nil},
	{"any: not these", "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", nil},
	{"any: not these", "my program says: BUG: soft lockup - CPU#0 stuck for 61s! [mv:5593]", nil},
}

func parseAll(text string) []Message {
	var p parser
	for i, line := range strings.Split(text, "\n") {
		p.line(uint64(i), nil, line)
	}
	return p.list
}

func TestLines(t *testing.T) {
	for _, c := range lines {
		got := parseAll(c.text)
		for i := range got {
			got[i].Text = ""
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q is read as %+v, not %+v", c.release, c.text, got, c.want)
		}
	}
}

func TestTooManyMessages(t *testing.T) {
	got := parseAll(strings.Repeat(lines[0].text+"\n", maxMessages+5))
	if len(got) != maxMessages {
		t.Errorf("%d messages were kept", len(got))
	}
}

func FuzzMessages(f *testing.F) {
	for _, c := range lines {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n := strings.Count(text, "\n") + 1
		list := parseAll(text)
		if len(list) > n {
			t.Fatalf("%d messages in %d lines", len(list), n)
		}
		for _, m := range list {
			if slices.ContainsFunc(m.CPUs, func(c int) bool { return c < 0 || c >= maxCPUs }) || m.Kind == "" {
				t.Fatalf("%+v", m)
			}
		}
	})
}
