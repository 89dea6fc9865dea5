package census_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/recorded"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/hashtable"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

func inodes(t testing.TB, fs *vfs.FS, opt census.Options) *census.InodeReport {
	t.Helper()
	r, err := census.Inodes(t.Context(), fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGuestInodes compares with what the guest knew, with drgn's walk of the
// super_blocks' lists, and with the hash table.
func TestGuestInodes(t *testing.T) {
	fs := kerneltest.MainFS(t)
	r := inodes(t, fs, census.Options{})
	var drgn recorded.Drgn
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	var all, unused uint64
	if _, err := fmt.Sscan(fixtures.Truth(t, "main").Late["/proc/sys/fs/inode-state"], &all, &unused); err != nil {
		t.Fatal(err)
	}
	if n := r.Inodes.Total - r.Inodes.Freeing; n != all || r.Inodes.OnLRU != unused || !r.Coverage.Complete() {
		t.Errorf("%+v; the guest said %d, %d of them unused", r.Inodes, all, unused)
	}
	for _, c := range r.Counters {
		if c.Kernel != c.Counted {
			t.Errorf("%+v", c)
		}
	}
	listed := map[string]uint64{}
	for _, s := range drgn.SuperBlocks {
		listed[s.Address] = s.Inodes
	}
	for _, s := range r.Supers {
		// Sockets, pipes and files of namespaces are in no list since 4.3.
		want := listed[fmt.Sprintf("%x", uint64(s.Addr))]
		if s.Total < want || s.Type == "ext4" && s.Total != want {
			t.Errorf("%s %s: %+v, drgn lists %d", s.Type, s.ID, s.InodeCounts, want)
		}
	}
	p, err := hashtable.Lookup("inode")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := hashtable.New(fs.Kernel()).Tables(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	hashed := uint64(0)
	for c := range tables[0].Chains(0, tables[0].Buckets) {
		hashed += uint64(c.Length)
	}
	if r.Inodes.Hashed != hashed || len(r.Counters) != 2 {
		t.Errorf("%d inodes say that they are hashed, the table has %d", r.Inodes.Hashed, hashed)
	}
}

// TestInodesOfEachRelease: on every layout and allocator the census is the plan's.
func TestInodesOfEachRelease(t *testing.T) {
	for i, l := range synthetic.Releases() {
		s := described(l, synthetic.Machine{HashBits: 8, Nodes: 1 + i%2}, uint64(i))
		if i%3 == 2 {
			s = synthetic.NewScene(l, synthetic.Machine{HashBits: 8, Nodes: 1 + i%2}, uint64(i))
		}
		r := inodes(t, kerneltest.SyntheticFS(t, s), census.Options{})
		planned := map[uint64]int{}
		total := 0
		for _, sb := range s.Supers() {
			planned[sb.Addr] = len(sb.Inodes)
			total += len(sb.Inodes)
		}
		for _, one := range r.Supers {
			if int(one.Total) != planned[uint64(one.Addr)] || one.InUse != one.Total {
				t.Errorf("%s: %s: %+v, planned %d", l.Name, one.ID, one.InodeCounts, planned[uint64(one.Addr)])
			}
		}
		source := census.SourceSlabs
		if i%3 == 2 {
			source = census.SourceLists
		}
		if int(r.Inodes.Total) != total || r.Source != source || !r.Coverage.Complete() || r.Strange != 0 {
			t.Errorf("%s: %s %s: %+v, planned %d; %+v", l.Name, r.Source, r.WhyLists, r.Inodes, total, r.Coverage)
		}
	}
}
