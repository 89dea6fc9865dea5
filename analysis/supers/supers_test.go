package supers_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/supers"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/recorded"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

func analyze(t *testing.T) *supers.Report {
	t.Helper()
	r, err := supers.Analyze(context.Background(), kerneltest.MainFS(t))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Coverage.Complete() {
		t.Errorf("the fixture's super_blocks are all in the dump, yet: %+v", r.Coverage)
	}
	return r
}

func hex(t *testing.T, s string) kernel.Addr {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kernel.Addr(n)
}

// TestDrgnAgrees compares every super_block with drgn's reading of the dump.
func TestDrgnAgrees(t *testing.T) {
	var drgn recorded.Drgn
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	r := analyze(t)
	if len(r.SuperBlocks) != len(drgn.SuperBlocks) {
		t.Fatalf("%d super_blocks; drgn: %d", len(r.SuperBlocks), len(drgn.SuperBlocks))
	}
	for i, want := range drgn.SuperBlocks {
		got := &r.SuperBlocks[i]
		var counter int64
		var walked, cgroups uint64
		for _, node := range want.DentryLRU {
			counter += node.Items
			walked += node.Root.Walked
			for _, one := range node.Memcgs {
				cgroups += one.Walked
			}
		}
		if got.Addr != hex(t, want.Address) || got.ID != want.ID || got.Type != want.Type || got.Inodes != want.Inodes ||
			got.Frozen != (want.Frozen != 0) || len(got.Mounts) != len(want.Mounts) {
			t.Errorf("super_block %d: %+v; drgn: %+v", i, got, want)
		}
		if got.UnusedCounter != counter || got.UnusedWalked != walked+cgroups || got.UnusedCgroups != cgroups {
			t.Errorf("%s: unused %d by the counter, %d walked, %d of these in cgroups; drgn: %d, %d, %d",
				got.ID, got.UnusedCounter, got.UnusedWalked, got.UnusedCgroups, counter, walked+cgroups, cgroups)
		}
		for j, m := range want.Mounts {
			if got.Mounts[j].ID != m.ID || got.Mounts[j].Device != m.Device {
				t.Errorf("%s, mount %d: %+v; drgn: %+v", got.ID, j, got.Mounts[j], m)
			}
		}
	}
}

// TestMountsAreTheGuests compares with /proc/self/mountinfo of the guest's
// first mount namespace: mnt_id, path, root and device of every mount.
func TestMountsAreTheGuests(t *testing.T) {
	truth := fixtures.Truth(t, "main")
	info := ""
	for _, task := range truth.Tasks {
		if task.Pid == 1 {
			info = truth.Mounts[fmt.Sprint(task.NS["mnt"])]
		}
	}
	if info == "" {
		t.Fatal("the guest's truth has no mountinfo of process 1")
	}
	want := map[int32]string{}
	for line := range strings.Lines(info) {
		f := strings.Fields(line)
		id, err := strconv.ParseInt(f[0], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		// 36 35 98:0 /root /mount/point options - type device …
		want[int32(id)] = fmt.Sprint(f[4], " ", f[2], " ", f[3])
	}
	found := 0
	for _, sb := range analyze(t).SuperBlocks {
		for _, m := range sb.Mounts {
			if !m.Init {
				continue
			}
			found++
			root := m.Root
			if sb.Type == "nsfs" {
				root = strings.Fields(want[m.ID])[2] // nsfs names its roots net:[…], which is no path
			}
			if got := fmt.Sprint(m.Path, " ", sb.Device, " ", root); got != want[m.ID] {
				t.Errorf("mount %d: %q; the guest's mountinfo has %q", m.ID, got, want[m.ID])
			}
		}
	}
	if found != len(want) {
		t.Errorf("%d mounts in the first namespace; the guest has %d", found, len(want))
	}
}

// TestPlantedNegatives: all names that the guest planted are of its ext4 disk.
func TestPlantedNegatives(t *testing.T) {
	truth := fixtures.Truth(t, "main")
	planted, inCgroups := uint64(0), uint64(0)
	for _, n := range truth.Dentries.Negative {
		planted += uint64(n.Count)
		if n.Cgroup != "/" {
			inCgroups += uint64(n.Count)
		}
	}
	for _, sb := range analyze(t).SuperBlocks {
		if sb.Type != "ext4" || len(sb.Mounts) == 0 || sb.Mounts[0].Path != "/mnt" {
			continue
		}
		if sb.Negative < planted || sb.UnusedWalked < planted || sb.UnusedCgroups < inCgroups {
			t.Errorf("/mnt: %d negative, %d unused, %d in cgroups; the guest planted %d, %d of them in cgroups",
				sb.Negative, sb.UnusedWalked, sb.UnusedCgroups, planted, inCgroups)
		}
		return
	}
	t.Error("no ext4 super_block is mounted on /mnt")
}

func ExampleAnalyze() {
	image, err := dump.Open([]string{"../../fixtures/data/main/vmcore.kdump"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	info, err := debuginfo.Open("../../fixtures/data/vmlinux.xz")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fs, err := vfs.Open(k)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	report, err := supers.Analyze(context.Background(), fs)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	for _, sb := range report.SuperBlocks {
		if sb.Frozen {
			fmt.Println(sb.Type, "on", sb.Mounts[0].Path, "is frozen")
		}
	}
	// Output: ext4 on /frozen is frozen
}

// TestDentryState compares with what the guest read last of all. Closing that file
// and writing the truth moved some to the lists of unused ones.
func TestDentryState(t *testing.T) {
	var all, unused, age, want, negative uint64
	text := fixtures.Truth(t, "main").Late["/proc/sys/fs/dentry-state"]
	if _, err := fmt.Sscan(text, &all, &unused, &age, &want, &negative); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	got := analyze(t).State
	if got.Dentries != all || got.Negative == nil || *got.Negative != negative || got.Unused < unused || got.Unused > unused+100 {
		t.Errorf("%+v; the guest read %q", got, text)
	}
}
