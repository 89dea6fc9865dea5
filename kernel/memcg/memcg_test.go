package memcg_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/memcg"
)

// open reads the memory cgroups of a boot, by path.
func open(t *testing.T, k *kernel.Kernel) (*memcg.Reader, map[string]*memcg.Group) {
	t.Helper()
	r, err := memcg.New(k)
	if err != nil {
		t.Fatal(err)
	}
	groups := make(map[string]*memcg.Group)
	for g, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		groups[g.Path] = g
	}
	return r, groups
}

func boots(t *testing.T, check func(t *testing.T, k *kernel.Kernel, guest *truth.Truth)) {
	for boot, k := range map[string]func() *kernel.Kernel{
		"main":  func() *kernel.Kernel { return kerneltest.MainFS(t).Kernel() },
		"kdump": func() *kernel.Kernel { return kerneltest.Kernel(t, fixtures.Unpacked(t, "kdump/vmcore.kdump")) },
	} {
		t.Run(boot, func(t *testing.T) { check(t, k(), fixtures.Truth(t, boot)) })
	}
}

// The groups are those that the guest made, with the limits and the usage that their
// files said.
func TestTruth(t *testing.T) {
	boots(t, func(t *testing.T, k *kernel.Kernel, guest *truth.Truth) {
		r, groups := open(t, k)
		limited := 0
		for path, files := range guest.Cgroups {
			current, ok := files["memory.current"]
			if !ok {
				continue
			}
			g := groups[path]
			if g == nil || g.Offline {
				t.Errorf("%s: %+v", path, g)
				continue
			}
			c, errs := r.Counters(g)
			if len(errs) > 0 {
				t.Error(errs)
			}
			want, _ := strconv.ParseUint(current, 10, 64)
			if d := int64(c.Memory.Usage - want); uint64(max(d, -d)) > want/100 {
				t.Errorf("%s: %d bytes, the guest says %d", path, c.Memory.Usage, want)
			}
			limit, _ := strconv.ParseUint(files["memory.max"], 10, 64) // 0 for "max"
			if c.Memory.Max != limit {
				t.Errorf("%s: limit %d, the guest says %q", path, c.Memory.Max, files["memory.max"])
			}
			if limit > 0 {
				limited++
			}
			if c.Memory.Peak < c.Memory.Usage || c.Memsw != nil {
				t.Errorf("%s: %+v", path, c)
			}
		}
		t.Logf("%d groups, %d with a limit", len(groups), limited)
	})
}

// The root has no number, the others have one each, and nothing that is removed has
// a path of its own number.
func TestIDs(t *testing.T) {
	boots(t, func(t *testing.T, k *kernel.Kernel, _ *truth.Truth) {
		r, groups := open(t, k)
		paths := make(map[int]string)
		for path, g := range groups {
			id, err := r.ID(g.Addr)
			if err != nil {
				t.Fatal(err)
			}
			if (id < 0) != (path == "/") || paths[id] != "" && !g.Offline {
				t.Errorf("%s has the number %d, and so has %q", path, id, paths[id])
			}
			paths[id] = path
		}
	})
}

// What lies behind a group that cannot be read is not found, and that is said.
func TestUnreadable(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	_, groups := open(t, k)
	for path, g := range groups {
		if path == "/" {
			continue
		}
		o := kerneltest.OverlayOn(t, k)
		o.Exclude(g.Addr)
		damaged, err := memcg.New(o.Open())
		if err != nil {
			t.Fatal(err)
		}
		failed, found := 0, 0
		for g, err := range damaged.All() {
			if err != nil {
				failed++
			}
			if g != nil {
				found++
			}
		}
		if failed == 0 || found >= len(groups) {
			t.Errorf("without %s: %d groups, %d errors", path, found, failed)
		}
	}
}

// place is the address of a member of a struct mem_cgroup.
func place(t *testing.T, k *kernel.Kernel, g *memcg.Group, member string) uint64 {
	t.Helper()
	o, err := k.ObjectAt("struct mem_cgroup", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return o.Field(member).Addr()
}

// A tree that leads back to its root ends, with an error.
func TestCircle(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	_, groups := open(t, k)
	children, sibling := place(t, k, groups["/mortem/frozen"], "css.children"), place(t, k, groups["/"], "css.sibling")
	o := kerneltest.OverlayOn(t, k)
	for at, to := range map[uint64]uint64{children: sibling, sibling: children} {
		o.PutUint64(at, to)
		o.PutUint64(at+8, to)
	}
	r, err := memcg.New(o.Open())
	if err != nil {
		t.Fatal(err)
	}
	found, failed := 0, 0
	for g, err := range r.All() {
		if g != nil {
			found++
		}
		if err != nil {
			failed++
		}
	}
	if failed == 0 || found < len(groups) {
		t.Errorf("%d groups of %d, %d errors", found, len(groups), failed)
	}
}

// A root that leads nowhere is an error, and so is what lies at no address.
func TestNowhere(t *testing.T) {
	o := kerneltest.OverlayOn(t, kerneltest.MainFS(t).Kernel())
	k := o.Open()
	at, err := k.Symbol("root_mem_cgroup")
	if err != nil {
		t.Fatal(err)
	}
	o.PutUint64(at, 0xffff_8000_0000_0010) // a hole of the address space
	r, err := memcg.New(o.Open())
	if err != nil {
		t.Fatal(err)
	}
	for g, err := range r.All() {
		if g != nil || err == nil {
			t.Errorf("%+v, %v", g, err)
		}
	}
	if _, err := r.At(1); err == nil {
		t.Error("a group at address 1")
	}
	if _, err := r.ID(1); err == nil || errors.Is(err, kernel.ErrNotFound) {
		t.Errorf("the number of a group at address 1: %v", err)
	}
}
