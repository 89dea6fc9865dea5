package cgroup_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cgroup"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/memcg"
)

// The paths of the memory controller's groups are those of the guest's directories, and
// all of them are in the hierarchy of version 2.
func TestTruth(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	r, err := cgroup.New(k)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := memcg.New(k)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	roots := map[uint64]bool{}
	for g, err := range groups.All() {
		if err != nil {
			t.Fatal(err)
		}
		path, err := r.Path(g.Cgroup)
		if err != nil {
			t.Error(err)
		}
		root, id, err := r.Hierarchy(g.Cgroup)
		if err != nil || id != 0 {
			t.Errorf("%s is in hierarchy %d, %v", path, id, err)
		}
		roots[root], found[path] = true, true
	}
	for path, files := range fixtures.Truth(t, "main").Cgroups {
		if _, ok := files["memory.current"]; ok && !found[path] {
			t.Errorf("%s was not found", path)
		}
	}
	if len(roots) != 1 || !found["/"] {
		t.Errorf("roots of hierarchies: %d; %v", len(roots), found)
	}
}

// What is no control group is an error.
func TestNowhere(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	r, err := cgroup.New(k)
	if err != nil {
		t.Fatal(err)
	}
	if path, err := r.Path(8); err == nil {
		t.Errorf("path %q", path)
	}
	if root, id, err := r.Hierarchy(8); err == nil {
		t.Errorf("hierarchy %d at %#x", id, root)
	}
}

// rootCgroup is the struct cgroup at the top of the hierarchy of version 2.
func rootCgroup(k *kernel.Kernel) uint64 { return k.Object("cgrp_dfl_root").Field("cgrp").Addr() }

func Example() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	r, err := cgroup.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	path, err := r.Path(rootCgroup(k))
	fmt.Println(path, err)
	_, id, err := r.Hierarchy(rootCgroup(k))
	fmt.Println(id, err)
	// Output:
	// / <nil>
	// 0 <nil>
}
