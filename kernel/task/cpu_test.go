package task_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

// TestProcessor: the processor of a task, which stood at the base of its stack until
// 4.8. It is not known where that was written over.
func TestProcessor(t *testing.T) {
	for _, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			k := synthetic.New(l, synthetic.Machine{CPUs: 4})
			code := k.NewCode("spin", 16).Enter(0).Leave()
			runs, hurt := k.Task("runs", 100, k.InitNet()), k.Task("hurt", 101, k.InitNet())
			runs.RunOn(3, nil, synthetic.Frame{In: code, Offset: 5})
			hurt.RunOn(2, nil, synthetic.Frame{In: code, Offset: 5})
			old := !hurt.Has("thread_info") && !hurt.Has("cpu")
			if old {
				k.PutUint64(hurt.Stack, 0x57ac6e9d)
			}
			kern := kerneltest.Synthetic(t, k)
			tasks, err := task.New(kern)
			if err != nil {
				t.Fatal(err)
			}
			for tk, want := range map[*synthetic.Task]int{runs: 3, hurt: map[bool]int{true: -1, false: 2}[old]} {
				got, err := tasks.At(tk.Addr)
				if err != nil || got.CPU != want {
					t.Errorf("%s is on CPU %d, planned %d: %v", tk.Comm, got.CPU, want, err)
				}
			}
		})
	}
}
