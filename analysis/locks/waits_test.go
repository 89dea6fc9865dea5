package locks_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
)

// TestWaitsBoot: all waiting of the boot "waits" ends where the guest planted it, and
// nothing waits in a circle.
func TestWaitsBoot(t *testing.T) {
	facts := fixtures.Truth(t, "waits")
	r := analyze(t, kerneltest.FS(t, fixtures.Unpacked(t, "waits/vmcore.kdump")), locks.Options{})
	if len(r.Deadlocks) != 0 {
		t.Errorf("%+v", r.Deadlocks)
	}
	roles := map[string]int{}
	for _, p := range facts.Plant.Players {
		roles[p.Role] = p.Tid
	}
	// Who is at the end of the waiting of whom; "" where nobody is.
	ends := map[int]int{}
	for role, end := range map[string]string{"buffer.lock": "buffer.hold", "buffer.wait": "buffer.hold", "mutex.spin": "spin.hold", "seq.write": "spin.hold",
		"rcu.sync": "spin.hold", "rcu.expedited": "spin.hold", "rcu.barrier": "spin.hold", "var.wait": "", "work.run": "", "work.flush": "",
		"pending.flush": "", "queue.flush": "", "queue.drain": "", "work.cancel": ""} {
		if roles[role] == 0 {
			t.Fatalf("nobody plays %s", role)
		}
		ends[roles[role]] = roles[end]
	}
	for _, s := range facts.Situations {
		for _, tid := range s.Waiters {
			switch {
			case s.Name == "folio":
				ends[tid] = roles["folio.hold"]
			case s.Name == "hlist-bl" || s.Name == "lockref" || s.Name == "seqlock-read":
				ends[tid] = roles["spin.hold"]
			case len(s.Holders) == 1:
				ends[tid] = s.Holders[0]
			case len(s.Holders) == 0:
				ends[tid] = 0
			}
		}
	}
	roots := r.RootOf()
	for tid, want := range ends {
		i := slices.IndexFunc(r.Graph.Waits, func(w lock.Wait) bool { return int(r.Graph.Tasks[w.Task].PID) == tid })
		if i < 0 {
			t.Errorf("%d waits for nothing", tid)
			continue
		}
		root := &r.Roots[roots[r.Graph.Waits[i].Task]]
		if want == 0 && root.Kind != locks.RootLock || want != 0 && (root.Kind != locks.RootTask || int(root.Tasks[0].PID) != want) {
			t.Errorf("the waiting of %d ends at %s %+v, not at %d", tid, root.Kind, root.Tasks, want)
		}
	}
	if first := r.Roots[0]; first.Kind != locks.RootTask || int(first.Tasks[0].PID) != roles["spin.hold"] || first.All < 9 {
		t.Errorf("the first root blocker is %+v", first)
	}
}

// TestCalled: locks are found by what they are called.
func TestCalled(t *testing.T) {
	fs := kerneltest.FS(t, fixtures.Unpacked(t, "waits/vmcore.kdump"))
	for name, want := range map[string]string{"mw_busy": "mw_busy [mortem_waits]", "mw_busy [mortem_waits]": "mw_busy [mortem_waits]", "mortem_waits": `"mortem_waits"`,
		"/mnt/data/ofd": "of /mnt/data/ofd", "block 8191 of vdb": "block 8191 of vdb", "rcu_state (expedited)": "rcu_state (expedited)"} {
		r := analyze(t, fs, locks.Options{Locks: []string{name}, NoSuspects: true})
		if !slices.ContainsFunc(r.Graph.Waits, func(w lock.Wait) bool { return locks.Name(&r.Graph.Locks[w.Lock]) == want }) || len(r.Roots) != 1 {
			t.Errorf("%q: %d roots, waits for %+v", name, len(r.Roots), r.Graph.Locks)
		}
	}
}
