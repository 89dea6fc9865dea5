package task_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

// mountLine is a line of /proc/PID/mountinfo without what only the code of the file
// system tells.
func mountLine(m *task.Mount) string {
	return fmt.Sprintf("%d %d %d:%d %s %s %s - %s %s %s", m.ID, m.ParentID, m.SB.Major(), m.SB.Minor(), m.Inside, m.Path,
		strings.Join(m.Options(), ","), m.SB.Type, m.Device, strings.Join(m.SB.Options(), ","))
}

// guestLine is the same of a line that the guest read.
func guestLine(t *testing.T, text string) string {
	words := strings.Fields(text)
	dash := 0
	for i, w := range words {
		if w == "-" {
			dash = i
		}
	}
	if dash == 0 || len(words) != dash+4 {
		t.Fatalf("no line of mountinfo: %q", text)
	}
	common := strings.Split(words[dash+3], ",")[:1] // rw or ro
	for _, o := range strings.Split(words[dash+3], ",")[1:] {
		switch o {
		case "sync", "dirsync", "mand", "lazytime":
			common = append(common, o)
		}
	}
	return strings.Join(append(append(words[:6:6], "-"), words[dash+1], words[dash+2], strings.Join(common, ",")), " ")
}

// TestMounts compares the mounts of each mount namespace with what a process in it
// read in /proc/self/mountinfo, line by line and in order.
func TestMounts(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	fs := kerneltest.FS(t, fixtures.Path(t, kerneltest.Main))
	reader, err := task.New(fs.Kernel())
	if err != nil {
		t.Fatal(err)
	}
	details, err := task.NewDetails(reader, fs)
	if err != nil {
		t.Fatal(err)
	}
	compared := map[string]bool{}
	for tk, err := range reader.All() {
		if err != nil {
			t.Fatal(err)
		}
		m, err := details.More(tk)
		if err != nil {
			t.Fatal(err)
		}
		spaces, err := details.Namespaces(tk, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, ns := range spaces {
			key := fmt.Sprint(ns.Inum)
			want, known := guest.Mounts[key]
			if ns.Kind != "mnt" || !known || compared[key] {
				continue
			}
			compared[key] = true
			list, err := details.Mounts(tk, m)
			if err != nil {
				t.Errorf("%d %s: %v", tk.PID, tk.Comm, err)
			}
			var got, wanted []string
			for i := range list {
				got = append(got, mountLine(&list[i]))
			}
			for line := range strings.Lines(want) {
				wanted = append(wanted, guestLine(t, line))
			}
			if g, w := strings.Join(got, "\n"), strings.Join(wanted, "\n"); g != w {
				t.Errorf("%d %s, namespace %s:\n%s\nthe guest read\n%s", tk.PID, tk.Comm, key, g, w)
			}
		}
	}
	if len(compared) != len(guest.Mounts) || len(compared) < 3 {
		t.Errorf("%d namespaces of %d compared", len(compared), len(guest.Mounts))
	}
}
