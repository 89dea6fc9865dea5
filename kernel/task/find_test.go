package task_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/task"
)

// find is what Find tells of a damaged dump, the tasks by thread id.
func find(t *testing.T, s *synthetic.Scene, damage func(*synthetic.Dump)) (pids []int, whole bool, errs int) {
	t.Helper()
	d := s.Dump()
	damage(d)
	image, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	list, whole := tasks.Find(func(error) { errs++ })
	for _, tk := range list {
		pids = append(pids, int(tk.PID))
	}
	slices.Sort(pids)
	return pids, whole, errs
}

// TestFind: where the list of tasks breaks, the pid structures lead to the rest; where
// these do not either, the answer says that tasks may be missing.
func TestFind(t *testing.T) {
	plan := newPIDPlan(synthetic.NewScene(synthetic.V6_1(), synthetic.Machine{}, 1))
	plan.xarray()
	var all []int
	for _, tk := range plan.Tasks() {
		all = append(all, tk.PID)
	}
	slices.Sort(all)
	planned := plan.Tasks()
	second := planned[1].At("tasks")
	cut := func(d *synthetic.Dump) { d.PutUint64(second, 0xdead000000000100) }
	if pids, whole, errs := find(t, plan.Scene, func(*synthetic.Dump) {}); !slices.Equal(pids, all) || !whole || errs != 0 {
		t.Errorf("sound: %v, whole %v, %d errors", pids, whole, errs)
	}
	if pids, whole, errs := find(t, plan.Scene, cut); !slices.Equal(pids, all) || !whole || errs != 1 {
		t.Errorf("the list is cut: %v, whole %v, %d errors", pids, whole, errs)
	}
	last := planned[len(planned)-1]
	pids, whole, errs := find(t, plan.Scene, func(d *synthetic.Dump) {
		cut(d)
		d.Exclude(plan.pids[last.Addr])
	})
	if slices.Contains(pids, last.PID) || len(pids) != len(all)-1 || whole || errs < 2 {
		t.Errorf("a pid is missing too: %v, whole %v, %d errors", pids, whole, errs)
	}
	bare := synthetic.NewScene(synthetic.V6_1(), synthetic.Machine{}, 1) // without pid structures
	second = bare.Tasks()[1].At("tasks")
	if pids, whole, _ := find(t, bare, cut); len(pids) == 0 || len(pids) >= len(all) || whole {
		t.Errorf("without pid structures: %v, whole %v", pids, whole)
	}
}
