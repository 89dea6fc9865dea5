package task_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/paging"
	"github.com/kmortem/mortem/kernel/task"
)

// TestUserMemory: command lines and environments, from dumps that have the memory of
// programs, one of them with five levels of page tables.
func TestUserMemory(t *testing.T) {
	t.Run("small", func(t *testing.T) {
		checkUserMemory(t, fixtures.Unpacked(t, "cut/qemu.elf"), fixtures.Truth(t, "small"))
	})
	t.Run("main", func(t *testing.T) {
		checkUserMemory(t, fixtures.OnDemand(t, "main/vmcore.elf"), fixtures.OnDemandTruth(t, "main"))
	})
}

func checkUserMemory(t *testing.T, file string, guest *truth.Truth) {
	t.Helper()
	fs := kerneltest.FS(t, file)
	tasks, err := task.New(fs.Kernel())
	if err != nil {
		t.Fatal(err)
	}
	details, err := task.NewDetails(tasks, fs)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]*truth.Task{}
	for i := range guest.Tasks {
		want[int32(guest.Tasks[i].Pid)] = &guest.Tasks[i]
	}
	compared := 0
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		p := want[tk.PID]
		if p == nil || p.Cmdline == "" || p.Comm != tk.Comm {
			continue
		}
		m, err := details.More(tk)
		if err != nil {
			t.Fatal(err)
		}
		mem, err := details.Memory(m.MM)
		if err != nil {
			t.Fatal(err)
		}
		args, err := details.CommandLine(mem)
		if got := strings.Join(args, "\x00") + "\x00"; err != nil || got != p.Cmdline {
			t.Errorf("%d %s: command line %q, %v; the guest says %q", tk.PID, tk.Comm, got, err, p.Cmdline)
		}
		env, err := details.Environment(mem)
		if got := strings.Join(env, "\x00") + "\x00"; err != nil || got != p.Environ && p.Environ != "" {
			t.Errorf("%d %s: environment %q, %v; the guest says %q", tk.PID, tk.Comm, got, err, p.Environ)
		}
		compared++
	}
	if compared < 5 {
		t.Errorf("only %d processes were compared", compared)
	}
}

// TestNoUserMemory: a dump that lacks the memory of programs says so.
func TestNoUserMemory(t *testing.T) {
	g := openGuest(t)
	m, err := g.details.More(g.byPID[g.truth.Planted["threads"].Pid])
	if err != nil {
		t.Fatal(err)
	}
	mem, err := g.details.Memory(m.MM)
	if err != nil {
		t.Fatal(err)
	}
	args, err := g.details.CommandLine(mem)
	if len(args) != 0 || !errors.Is(err, dump.ErrExcluded) {
		t.Errorf("%q, %v", args, err)
	}
	u, err := g.details.User(mem)
	if err != nil {
		t.Fatal(err)
	}
	const never = 0x1000 // below vm.mmap_min_addr
	if _, err := u.Read(make([]byte, 1), never); !errors.Is(err, paging.ErrNotMapped) {
		t.Errorf("reading where nothing is mapped: %v", err)
	}
}
