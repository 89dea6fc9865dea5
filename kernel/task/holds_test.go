package task_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

// TestHolds: what a task holds by address is what it holds by path: the guest has as many
// descriptors open, and the dentries of its files, directories and program have the paths
// that the guest says.
func TestHolds(t *testing.T) {
	g := openGuest(t)
	fs := kerneltest.MainFS(t)
	programs := 0
	g.each(t, func(p *truth.Task, tk *task.Task, m *task.More) {
		open := 0
		for d, err := range g.details.Descriptors(m) {
			if err != nil {
				t.Fatal(err)
			}
			open++
			dentry, err := g.details.FileDentry(d.File)
			if f, fileErr := g.details.File(d.File); err != nil || fileErr != nil || f.Dentry != dentry {
				t.Errorf("pid %d, descriptor %d: dentry %#x, %+v, %v", p.Pid, d.FD, dentry, f, err)
			}
		}
		if open != len(p.FDs) && p.Pid != 1 && tk.Letter() != "Z" { // init went on to make the dump
			t.Errorf("pid %d has %d descriptors, the guest says %d", p.Pid, open, len(p.FDs))
		}
		root, cwd, err := g.details.DirectoryDentries(m)
		if gone := tk.Letter() == "Z"; err != nil || (root == 0 || cwd == 0) != gone {
			t.Errorf("pid %d: %#x, %#x, %v", p.Pid, root, cwd, err)
		}
		if d, err := fs.Dentry(root); root != 0 && p.Root == "/" && (err != nil || !d.Root()) {
			t.Errorf("pid %d: its root %+v, %v", p.Pid, d, err)
		}
		if m.MM == 0 {
			return
		}
		file, err := g.details.Program(m.MM)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := g.details.File(file); err != nil || f.Path != p.Exe {
			t.Errorf("pid %d runs %+v, %v; the guest says %s", p.Pid, f, err, p.Exe)
		}
		programs++
	})
	if programs < 5 {
		t.Errorf("%d programs", programs)
	}
}

func ExampleDetails_Descriptors() {
	fs := kerneltest.ExampleFS()
	tasks, err := task.New(fs.Kernel())
	if err != nil {
		panic(err)
	}
	details, err := task.NewDetails(tasks, fs)
	if err != nil {
		panic(err)
	}
	for t, err := range tasks.All() {
		if err != nil {
			panic(err)
		}
		if t.PID != 1 {
			continue
		}
		m, err := details.More(t)
		if err != nil {
			panic(err)
		}
		n := 0
		for d, err := range details.Descriptors(m) {
			if err == nil && d.File != 0 && n == d.FD {
				n++
			}
		}
		fmt.Println(t.Comm, "has the first descriptors open:", n >= 3)
	}
	// Output: init has the first descriptors open: true
}
