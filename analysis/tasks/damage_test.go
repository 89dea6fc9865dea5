package tasks_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/tasks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// TestDamage: whatever is wrong with the objects that the answer is made of, it
// comes, in time, and does not claim to be whole where tasks are missing.
func TestDamage(t *testing.T) {
	fs := kerneltest.FS(t, fixtures.Path(t, kerneltest.Main))
	k := fs.Kernel()
	whole := analyze(t, tasks.Options{Queues: true, Long: true})
	var at []uint64
	for i := range whole.Tasks {
		at = append(at, uint64(whole.Tasks[i].Addr))
		if m := whole.Tasks[i].Memory; m != nil {
			at = append(at, uint64(m.MM))
		}
	}
	for _, q := range whole.Queues {
		at = append(at, uint64(q.Addr), uint64(q.Addr)+1000)
	}
	for _, g := range whole.Groups {
		at = append(at, uint64(g.Addr), uint64(g.Queues[0].Addr))
	}
	for seed := range uint64(60) {
		d := kerneltest.Damage(t, k, at, 2600, rand.New(rand.NewPCG(seed, 7)), 1+int(seed)*4) // of what a task_struct has before its registers
		hurt, err := kernel.Open(d, kerneltest.Info(t), kernel.Options{})
		if err != nil {
			continue // init_task itself
		}
		fs, err := vfs.Open(hurt)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		r, err := tasks.Analyze(t.Context(), fs, tasks.Options{Queues: true, Long: true, Files: true, Env: true})
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			continue
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("seed %d took %v", seed, took)
		}
		if len(r.Tasks) < len(whole.Tasks) && r.Coverage.Complete() && len(r.Differences) == 0 {
			t.Errorf("seed %d: %d of %d tasks, and nothing is said to be missing", seed, len(r.Tasks), len(whole.Tasks))
		}
	}
}
