package hung_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/analysis/hung"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestWatchdogs: of four processors the first is well, on the second the watchdog has
// not run for 70 seconds, on the third the kernel's own mark says that it has reported a
// hard lockup, and the fourth was stuck when its line was logged, and is not any more.
func TestWatchdogs(t *testing.T) {
	for _, c := range []struct {
		layout      *synthetic.Layout
		touch, hard string
		line        string
	}{
		{synthetic.EL6(), "watchdog_touch_ts", "hard_watchdog_warn", "BUG: soft lockup - CPU#3 stuck for 67s! [perl:103]"},
		{synthetic.EL7(), "watchdog_touch_ts", "hard_watchdog_warn", "NMI watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [perl:103]"},
		{synthetic.V6_1(), "watchdog_touch_ts", "hard_watchdog_warn", "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [perl:103]"},
		{synthetic.V6_12(), "watchdog_touch_ts", "watchdog_hardlockup_warned", "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [perl:103]"},
	} {
		t.Run(c.layout.Name, func(t *testing.T) {
			k := synthetic.New(c.layout, synthetic.Machine{CPUs: 4})
			for range 100 { // a log that is larger than all memory is taken for damaged
				k.PutUint64(k.Virt(k.AllocPages(0)), 1)
			}
			k.Mount(k.SuperBlock("ext4", "sda1"), nil)
			const now = 5000 << 30 // ns, in whole units of the watchdog
			busy := k.NewCode("busy", 64).Enter(0).Nop(20).Leave()
			for cpu := range 4 {
				pid := 100 + cpu
				if cpu == 3 {
					pid = 200
				}
				tk := k.Task(fmt.Sprintf("task-%d", cpu), pid, k.InitNet())
				tk.RunOn(cpu, nil, synthetic.Frame{In: busy, Offset: 14})
				k.RunQueue(cpu).Set("clock", now)
			}
			for cpu, v := range k.PerCPU(c.touch, "unsigned long") {
				touched := uint64(now>>30 - 1)
				if cpu == 1 {
					touched = now>>30 - 70
				}
				k.PutUint64(v.Addr, touched)
			}
			for cpu, v := range k.PerCPU(c.hard, "unsigned char") {
				if cpu == 2 {
					k.Write(v.Addr, []byte{1})
				}
			}
			k.SetVar("watchdog_thresh", "int", 10)
			k.Log(4000*time.Second, 0, c.line)
			k.Log(4100*time.Second, 3, "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:")
			k.Log(4100*time.Second, 3, "rcu: \t3-....: (2 GPs behind) idle=9ca/1/0x4000000000000002 softirq=1/1 fqs=14999")
			k.Log(4100*time.Second, 3, "rcu: \t(detected by 0, t=60002 jiffies, g=4793, q=1)")
			r := analyze(t, kerneltest.SyntheticFS(t, k))
			if len(r.CPUs) != 4 || r.Settings.SoftLock == nil || *r.Settings.SoftLock != 20 {
				t.Fatalf("%d processors, settings %+v", len(r.CPUs), r.Settings)
			}
			for i := range r.CPUs {
				cpu := &r.CPUs[i]
				if cpu.Soft != (i == 1) || cpu.WarnedHard != (i == 2) || (len(cpu.Messages) > 0) != (i == 3) || cpu.Stuck == nil {
					t.Errorf("%+v", cpu)
				}
			}
			if stuck := *r.CPUs[1].Stuck; stuck < 69<<30 || stuck > 70<<30 {
				t.Errorf("CPU 1 is stuck for %d ns", stuck)
			}
			if m := r.Messages; len(m) != 2 || m[0].Tied.Now != "gone" || m[1].Kind != hung.RCUStall || !slices.Equal(m[1].CPUs, []int{3}) {
				t.Errorf("%+v, %s", m, r.LogError)
			}
			var got []string
			for _, f := range r.Findings {
				got = append(got, fmt.Sprint(f.Confidence, " ", strings.Join(strings.Fields(f.Statement)[:2], " ")))
				if f.Confidence == finding.Suspected && f.Method == "" {
					t.Errorf("%+v", f)
				}
			}
			if want := []string{"suspected CPU 1", "suspected CPU 2", "certain RCU (rcu_sched)"}; !slices.Equal(got, want) {
				t.Errorf("findings %q, not %q", got, want)
			}
		})
	}
}
