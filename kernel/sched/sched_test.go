package sched_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/sched"
	"github.com/kmortem/mortem/kernel/task"
)

func open(t *testing.T, file string) (*sched.Reader, *task.Reader) {
	t.Helper()
	tasks, err := task.New(kerneltest.FS(t, file).Kernel())
	if err != nil {
		t.Fatal(err)
	}
	r, err := sched.New(tasks)
	if err != nil {
		t.Fatal(err)
	}
	return r, tasks
}

// TestQueues: a run queue has as many tasks as it says, all of them runnable and on
// that processor, and each runnable task is on one, or in a group that is throttled.
func TestQueues(t *testing.T) {
	t.Run("main", func(t *testing.T) {
		checkQueues(t, fixtures.Path(t, kerneltest.Main), fixtures.Truth(t, "main").CPUs)
	})
	t.Run("kdump", func(t *testing.T) {
		checkQueues(t, fixtures.Unpacked(t, "kdump/vmcore.kdump"), fixtures.Truth(t, "kdump").CPUs)
	})
}

func checkQueues(t *testing.T, file string, cpus int) {
	t.Helper()
	r, tasks := open(t, file)
	queues, errs := r.Queues()
	if len(errs) > 0 || len(queues) != cpus {
		t.Fatalf("%d queues, %v", len(queues), errs)
	}
	queued := map[uint64]bool{}
	for i := range queues {
		q := &queues[i]
		all := slices.Concat(q.Fair, q.RealTime, q.Deadline)
		n := uint64(len(all))
		if q.Stopping {
			n++
			queued[q.Stop] = true
		}
		if n != q.Running {
			t.Errorf("CPU %d: %d tasks found, nr_running is %d", q.CPU, n, q.Running)
		}
		for _, e := range all {
			tk, err := tasks.At(e.Task)
			if err != nil {
				t.Fatal(err)
			}
			if tk.Letter() != "R" && !e.Current || tk.CPU != q.CPU || queued[e.Task] {
				t.Errorf("CPU %d: %d %s is %s, of CPU %d, twice %v", q.CPU, tk.PID, tk.Comm, tk.Letter(), tk.CPU, queued[e.Task])
			}
			queued[e.Task] = true
		}
	}
	for g, err := range r.Groups() {
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range g.Queues {
			for _, e := range q.Tasks {
				queued[e.Task] = true
			}
		}
	}
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		if tk.Letter() == "R" && !queued[tk.Addr] {
			t.Errorf("%d %s is runnable, and on no queue", tk.PID, tk.Comm)
		}
	}
}

// TestThrottled: the planted group has 1 ms in each second, and is held back with
// the two tasks that always want to run.
func TestThrottled(t *testing.T) {
	r, tasks := open(t, fixtures.Path(t, kerneltest.Main))
	truth := fixtures.Truth(t, "main")
	n, held := 0, 0 // a new period may have begun on a processor
	for g, err := range r.Groups() {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if !g.Limited || g.Quota != 1e6 || g.Period != 1e9 || g.Throttles < 10 || g.Cgroup == 0 {
			t.Errorf("%+v", g)
		}
		found := map[int]bool{}
		for _, q := range g.Queues {
			if q.Throttled != (q.Since != 0) || q.Throttled != (q.Depth == 1) || q.Throttled != (q.Remaining <= 0) ||
				q.Queued != uint64(len(q.Tasks)) {
				t.Errorf("%+v", q)
			}
			if q.Throttled {
				held++
			}
			for _, e := range q.Tasks {
				tk, err := tasks.At(e.Task)
				if err != nil {
					t.Fatal(err)
				}
				found[int(tk.TGID)] = true
			}
		}
		for _, name := range []string{"throttled-1", "throttled-2"} {
			if !found[truth.Planted[name].Pid] {
				t.Errorf("%s is not held back: %v", name, found)
			}
		}
	}
	if n != 1 || held == 0 {
		t.Errorf("%d groups, throttled on %d processors", n, held)
	}
}
