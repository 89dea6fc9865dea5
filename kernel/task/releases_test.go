package task_test

import (
	"testing"

	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// TestReleases: the layouts of all releases resolve, and what the builder knows of
// its tasks is read.
func TestReleases(t *testing.T) {
	for _, layout := range synthetic.Releases() {
		t.Run(layout.Name, func(t *testing.T) {
			scene := synthetic.NewScene(layout, synthetic.Machine{}, 1)
			fs := kerneltest.SyntheticFS(t, scene, dumpwriter.Raw)
			checkRelease(t, fs.Kernel(), fs, scene)
		})
	}
}

func checkRelease(t *testing.T, k *kernel.Kernel, fs *vfs.FS, scene *synthetic.Scene) {
	t.Helper()
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	details, err := task.NewDetails(tasks, fs)
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint64]*synthetic.Task{}
	for _, s := range scene.Tasks() {
		want[s.Addr] = s
	}
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		s := want[tk.Addr]
		if s == nil || int(tk.PID) != s.PID || int(tk.TGID) != s.TGID || tk.Comm != s.Comm || tk.Letter() != "R" {
			t.Fatalf("%+v; planned is %+v", tk, s)
		}
		delete(want, tk.Addr)
		m, err := details.More(tk)
		if err != nil {
			t.Fatal(err)
		}
		if m.Leader == 0 || m.PolicyName() != "NORMAL" || m.Frozen {
			t.Errorf("%+v", m)
		}
		for _, n := range mustNamespaces(t, details, tk) {
			if n.Kind == "net" && n.Addr != s.Net.Addr {
				t.Errorf("%d %s is in the namespace %#x, planned is %#x", tk.PID, tk.Comm, n.Addr, s.Net.Addr)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
}

func mustNamespaces(t *testing.T, details *task.Details, tk *task.Task) []task.Namespace {
	t.Helper()
	list, err := details.Namespaces(tk, nil)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
