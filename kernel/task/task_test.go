package task_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

// TestTasksAreTheGuests compares all threads with those that the guest's kernel
// module saw by itself, right before the dump: address, pid and tgid.
func TestTasksAreTheGuests(t *testing.T) {
	truth := fixtures.Truth(t, "main")
	r, err := task.New(kerneltest.MainFS(t).Kernel())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for tk, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		got[fmt.Sprintf("%x %d %d", tk.Addr, tk.PID, tk.TGID)] = true
	}
	missing := 0
	for _, want := range truth.Plant.Tasks {
		key := fmt.Sprintf("%s %d %d", want.Task, want.Pid, want.Tgid)
		if !got[key] {
			missing++
		}
		delete(got, key)
	}
	// Kernel workers come and go in the moment between.
	if missing > 5 || len(got) > 5 || len(truth.Plant.Tasks) < 100 {
		t.Errorf("of %d threads that the guest saw, %d are missing; seen besides: %v", len(truth.Plant.Tasks), missing, got)
	}
}

// TestNetNamespaces compares the namespaces of processes.
func TestNetNamespaces(t *testing.T) {
	truth := fixtures.Truth(t, "main")
	k := kerneltest.MainFS(t).Kernel()
	r, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]uint64{}
	for _, p := range truth.Tasks {
		want[int32(p.Pid)] = p.NS["net"]
	}
	compared := 0
	for tk, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		inum, known := want[tk.PID]
		if !known || inum == 0 {
			continue
		}
		net, err := r.NetNamespace(tk)
		if err != nil {
			t.Fatal(err)
		}
		o, err := k.ObjectAt("struct net", net)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.Field("ns.inum").Uint(); err != nil || got != inum {
			t.Errorf("%d %s is in namespace %d, %v; the guest says %d", tk.PID, tk.Comm, got, err, inum)
		}
		compared++
	}
	if compared < 50 {
		t.Errorf("only %d processes were compared", compared)
	}
}
