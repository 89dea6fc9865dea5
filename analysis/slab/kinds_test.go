package slab_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	kslab "github.com/kmortem/mortem/kernel/slab"
)

func kinds(t testing.TB, s *kslab.Allocations, name string, limit int) *slab.KindReport {
	t.Helper()
	c, err := slab.Find(s, name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := slab.Kinds(context.Background(), s, c, slab.KindOptions{Limit: limit})
	if err != nil || !r.Coverage.Complete() {
		t.Fatalf("%s: %v, %+v", name, err, r)
	}
	return r
}

// Where the kernel keeps one type in a cache, and only that, its objects look like it.
func TestKindsOfKnownCaches(t *testing.T) {
	s := open(t, main(t))
	for cache, typ := range map[string]string{
		"task_struct": "task_struct", "mm_struct": "mm_struct", "signal_cache": "signal_struct", "mnt_cache": "mount",
		"net_namespace": "net", "sock_inode_cache": "socket_alloc", "ext4_inode_cache": "ext4_inode_info", "dentry": "dentry",
		"proc_inode_cache": "proc_inode", "shmem_inode_cache": "shmem_inode_info", "anon_vma": "anon_vma", "inode_cache": "inode",
	} {
		r := kinds(t, s, cache, 500)
		if first := r.Kinds[0]; len(first.Types) != 1 || first.Types[0] != "struct "+typ || first.Share < 0.95 || r.Examined < 40 {
			t.Errorf("%s: %+v", cache, first)
		}
	}
}

// A merged cache falls apart: the module's two caches and those of the kernel share one.
// The leaked objects are all there, told apart from the others by what they carry.
func TestKindsOfMergedCache(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: the contents of 100,000 objects are looked at")
	}
	plant := fixtures.Truth(t, "main").Plant.Objects
	r := kinds(t, open(t, main(t)), "mortem_mate", 1<<30)
	leaks, mates := uint64(0), uint64(0)
	for _, k := range r.Kinds {
		marks := strings.Join(k.Marks, "\n")
		switch {
		case strings.Contains(marks, "0x"+plant.LeakMagic):
			leaks += k.Count
		case strings.Contains(marks, "0x"+plant.MateMagic) && strings.Contains(marks, "mp_mate_release [mortem_plant]"):
			mates += k.Count
		}
	}
	if leaks != uint64(plant.Leaks) || mates != uint64(plant.Mates) || r.Examined != r.Live {
		t.Errorf("%d leaks, %d mates of %d: %+v", leaks, mates, r.Examined, r.Kinds)
	}
}

// struct pid and struct epitem share a cache; the guest knew how many tasks it had.
func TestKindsOfPids(t *testing.T) {
	tasks := len(fixtures.Truth(t, "main").Plant.Tasks)
	for _, k := range kinds(t, open(t, main(t)), "pid", 1<<30).Kinds {
		if len(k.Types) == 1 && k.Types[0] == "struct pid" {
			if int(k.Count) < tasks*95/100 || int(k.Count) > tasks+10 || len(k.Counts) == 0 || k.Counts[0].Member != "count" {
				t.Errorf("%+v, the guest had %d tasks", k, tasks)
			}
			return
		}
	}
	t.Error("no struct pid")
}

func ExampleKinds() {
	s, err := slab.Open(kerneltest.ExampleKernel())
	if err != nil {
		panic(err)
	}
	c, err := slab.Find(s, "mnt_cache")
	if err != nil {
		panic(err)
	}
	r, err := slab.Kinds(context.Background(), s, c, slab.KindOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Kinds[0].Types)
	// Output: [struct mount]
}
