package census_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
)

// TestGuestCharged: the guest's processes in memory cgroups were charged for what they
// planted, and all dentries and inodes are charged to somebody or nobody.
func TestGuestCharged(t *testing.T) {
	fs := kerneltest.MainFS(t)
	r := dentries(t, fs, census.Options{})
	sum := r.UnknownCharged
	for _, m := range r.Memcgs {
		if m.Dentries == nil || m.Bytes == nil {
			t.Fatalf("%+v: not charged: %s", m, r.WhyNotCharged)
		}
		if *m.Dentries < uint64(m.OnLRU) || *m.Bytes != *m.Dentries*uint64(r.Caches[0].Size) {
			t.Errorf("cgroup %s: %d dentries of %d bytes, %d on its LRU lists", m.Path, *m.Dentries, *m.Bytes, m.OnLRU)
		}
		sum += *m.Dentries
	}
	if sum != r.Dentries.Total || r.UnknownCharged != 0 || r.WhyNotCharged != "" {
		t.Errorf("%d dentries by memory cgroup (%d unknown), %d in all", sum, r.UnknownCharged, r.Dentries.Total)
	}
	for _, batch := range fixtures.Truth(t, "main").Dentries.Negative {
		i := slices.IndexFunc(r.Memcgs, func(m census.Memcg) bool { return m.Path == batch.Cgroup })
		if i < 0 || *r.Memcgs[i].Dentries < uint64(batch.Count) {
			t.Errorf("cgroup %s has not the %d dentries that were planted: %+v", batch.Cgroup, batch.Count, r.Memcgs)
		}
	}
	d := directory(r, "/mnt/etc/pki/nssdb")
	chosen := dentries(t, fs, census.Options{Dir: uint64(d.Addr)})
	planted := make(map[string]int)
	for _, batch := range fixtures.Truth(t, "main").Dentries.Negative {
		if batch.Dir == d.Path {
			planted[batch.Cgroup] += batch.Count
		}
	}
	for _, m := range chosen.Memcgs {
		n := uint64(planted[m.Path])
		if extra := *m.Dentries - n; extra > 10 || m.OnLRU != int64(*m.Dentries) { // files that were not deleted, too
			t.Errorf("of one directory: %+v, %d dentries; planted %d", m, *m.Dentries, n)
		}
	}
	if len(chosen.Memcgs) != len(planted) || len(planted) < 3 {
		t.Errorf("of one directory: %+v, planted %v", chosen.Memcgs, planted)
	}
	inodes := inodes(t, fs, census.Options{})
	sum = inodes.UnknownCharged
	for _, m := range inodes.Memcgs {
		sum += m.Inodes
	}
	if sum != inodes.Inodes.Total || inodes.UnknownCharged != 0 || len(inodes.Memcgs) == 0 {
		t.Errorf("%d inodes by memory cgroup, %d in all: %+v", sum, inodes.Inodes.Total, inodes.Memcgs)
	}
}

// TestChargedAsListed: each dentry on the LRU list of a memory cgroup is charged to
// that very cgroup: two records of the kernel, made by different code of it.
func TestChargedAsListed(t *testing.T) {
	fs := kerneltest.MainFS(t)
	k := fs.Kernel()
	pages, err := page.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	slabs, err := slab.Open(k, pages)
	if err != nil {
		t.Fatal(err)
	}
	charges, err := slabs.NewCharges()
	if err != nil {
		t.Fatal(err)
	}
	lru, err := fs.LRU()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[uint64]int{0: -1} // by mem_cgroup
	n := map[int]int{}
	for sb, err := range fs.SuperBlocks() {
		if err != nil {
			t.Fatal(err)
		}
		for list, err := range lru.Lists(sb) {
			if err != nil {
				t.Fatal(err)
			}
			for d, err := range lru.Dentries(list) {
				if err != nil {
					t.Fatal(err)
				}
				if n[list.Memcg]++; n[list.Memcg] > 3000 {
					break // a sample: each leads to a slab of its own
				}
				o, ok, err := slabs.ObjectAt(d)
				if err != nil || !ok {
					t.Fatalf("dentry %#x: %v %v", d, ok, err)
				}
				charges.Load(&o.Slab)
				memcg, ok := charges.Memcg(o.Index)
				if _, known := ids[memcg]; !known {
					ids[memcg] = idOf(t, k, memcg)
				}
				if !ok || ids[memcg] != list.Memcg {
					t.Fatalf("dentry %#x is on the list of memory cgroup %d, charged to %d", d, list.Memcg, ids[memcg])
				}
			}
		}
	}
	if len(n) < 3 {
		t.Errorf("the lists are of %v only", n)
	}
}

func idOf(t *testing.T, k *kernel.Kernel, memcg uint64) int {
	t.Helper()
	o, err := k.ObjectAt("struct mem_cgroup", memcg)
	if err != nil {
		t.Fatal(err)
	}
	id, err := o.Field("kmemcg_id").Int()
	if err != nil {
		t.Fatal(err)
	}
	return int(id)
}
