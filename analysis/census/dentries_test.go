package census_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/recorded"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

func dentries(t testing.TB, fs *vfs.FS, opt census.Options) *census.DentryReport {
	t.Helper()
	r, err := census.Dentries(t.Context(), fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func directory(r *census.DentryReport, path string) census.Directory {
	i := slices.IndexFunc(r.Directories, func(d census.Directory) bool { return d.Path == path })
	if i < 0 {
		return census.Directory{}
	}
	return r.Directories[i]
}

func pattern(r *census.DentryReport, text string) census.Pattern {
	i := slices.IndexFunc(r.Patterns, func(p census.Pattern) bool { return p.Pattern == text })
	if i < 0 {
		return census.Pattern{}
	}
	return r.Patterns[i]
}

// TestGuest compares with what the guest knew, and with drgn's answers.
func TestGuest(t *testing.T) {
	fs := kerneltest.MainFS(t)
	r := dentries(t, fs, census.Options{Top: 1000})
	guest := fixtures.Truth(t, "main")
	var drgn recorded.Drgn
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	var state struct{ dentries, unused, age, want, negative int64 }
	if _, err := fmt.Sscan(guest.Late["/proc/sys/fs/dentry-state"], &state.dentries, &state.unused, &state.age, &state.want, &state.negative); err != nil {
		t.Fatal(err)
	}
	want := []int64{state.dentries, state.unused, state.negative}
	for i, c := range r.Counters {
		// The file was read a moment before the machine was frozen; what the kernel
		// counted then is exact.
		if c.Kernel != c.Counted || c.Kernel < want[i]-100 || c.Kernel > want[i]+100 {
			t.Errorf("%+v; the guest read %d", c, want[i])
		}
	}
	if len(r.Counters) != 3 || !r.Coverage.Complete() || r.Source != census.SourceSlabs {
		t.Errorf("%s, %d counters, %+v", r.Source, len(r.Counters), r.Coverage)
	}
	longest := 0
	for _, c := range drgn.Dcache.LongChains {
		longest = max(longest, c.Length)
	}
	if r.Dentries.Hashed != drgn.Dcache.Hashed || r.Chains.Hashed != drgn.Dcache.Hashed || r.Chains.Longest != longest {
		t.Errorf("hashed %d, by chains %d, the longest %d; drgn has %d, %d", r.Dentries.Hashed, r.Chains.Hashed, r.Chains.Longest,
			drgn.Dcache.Hashed, longest)
	}
	for _, batch := range guest.Dentries.Negative {
		if d := directory(r, batch.Dir); d.Negative < uint64(batch.Count) || d.OnLRU < d.Negative {
			t.Errorf("%s: %+v, planted %d", batch.Dir, d, batch.Count)
		}
	}
	if p := pattern(r, ".<n>_dOeSnotExist_.db"); p.Dentries != 22000 || p.Negative != 22000 || p.Directory != "/mnt/etc/pki/nssdb" || len(p.Samples) != 2 {
		t.Errorf("%+v", p)
	}
	if p := pattern(r, "blob-<uuid>.tmp"); p.Dentries != 500 || p.Directory != "/mnt/var/cache" {
		t.Errorf("%+v", p)
	}
	for _, f := range guest.Dentries.Files {
		if d := directory(r, f.Dir); d.Dentries != uint64(f.Created) || d.Negative != uint64(f.Deleted) {
			t.Errorf("%s: %+v, %d created and %d of them deleted", f.Dir, d, f.Created, f.Deleted)
		}
	}
	memcgs := map[string]int64{}
	for _, m := range r.Memcgs {
		memcgs[m.Path] = m.OnLRU
	}
	for _, batch := range guest.Dentries.Negative {
		if n := memcgs[batch.Cgroup]; n < int64(batch.Count) || batch.Cgroup != "/" && n > int64(batch.Count)+10 {
			t.Errorf("cgroup %s has %d unused dentries, planted %d", batch.Cgroup, n, batch.Count)
		}
	}
	checkLists(t, r, &drgn)
}

// checkLists compares the LRU lists with their counters and drgn's walk.
func checkLists(t *testing.T, r *census.DentryReport, drgn *recorded.Drgn) {
	t.Helper()
	for _, want := range drgn.SuperBlocks {
		walked := uint64(0)
		for _, node := range want.DentryLRU {
			walked += node.Root.Walked
			for _, m := range node.Memcgs {
				walked += m.Walked
			}
		}
		i := slices.IndexFunc(r.Supers, func(s census.Super) bool { return fmt.Sprintf("%x", uint64(s.Addr)) == want.Address })
		if i < 0 {
			t.Errorf("no super_block at %s", want.Address)
			continue
		}
		s := &r.Supers[i]
		sum := uint64(0)
		for _, l := range s.LRU {
			if l.Walked == nil || *l.Walked != l.Counter {
				t.Errorf("%s: list %+v", s.ID, l)
				continue
			}
			sum += uint64(*l.Walked)
		}
		if sum != walked || s.OnLRU+s.LRUInUse != walked || *s.LRUCounter != int64(walked) {
			t.Errorf("%s: walked %d, swept %d and %d in use, counter %d; drgn walked %d", s.ID, sum, s.OnLRU, s.LRUInUse, *s.LRUCounter, walked)
		}
	}
}

// TestGuestHeld: who holds what is deleted is who the guest said.
func TestGuestHeld(t *testing.T) {
	fs := kerneltest.MainFS(t)
	r := dentries(t, fs, census.Options{})
	inodes, err := census.Inodes(t.Context(), fs, census.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range fixtures.Truth(t, "main").Dentries.Held {
		if !want.Deleted {
			continue
		}
		for what, list := range map[string][]census.Held{"dentries": r.Held, "inodes": inodes.Deleted} {
			i := slices.IndexFunc(list, func(h census.Held) bool { return h.Path == want.Path })
			if i < 0 {
				t.Errorf("%s: %s is not among what is held", what, want.Path)
				continue
			}
			h := list[i]
			by := want.By
			if by == "dirfd" {
				by = "fd"
			}
			j := slices.IndexFunc(h.Holders, func(one census.Holder) bool { return one.How == by && one.PID == int32(want.Pid) })
			if h.Number != want.Inode || h.Links != 0 || want.Size != 0 && h.Size != want.Size || j < 0 ||
				by == "fd" && (h.Holders[j].FD == nil || *h.Holders[j].FD != want.FD) {
				t.Errorf("%s: %+v, the guest: %+v", what, h, want)
			}
		}
	}
}

// TestFilters: what is counted of a part is what is counted of the whole for it.
func TestFilters(t *testing.T) {
	fs := kerneltest.MainFS(t)
	whole := dentries(t, fs, census.Options{Top: 1000})
	d := directory(whole, "/mnt/many")
	r := dentries(t, fs, census.Options{Dir: uint64(d.Addr)})
	if r.Dentries.Total != d.Dentries || r.Dentries.Negative != d.Negative || len(r.Directories) != 1 || r.Filter == "" || len(r.Findings) != 0 || r.Chains != nil {
		t.Errorf("%+v, %+v", r.Dentries, r.Directories)
	}
	s := whole.Supers[0]
	if r = dentries(t, fs, census.Options{Super: uint64(s.Addr)}); r.Dentries != s.Counts || len(r.Supers) != 1 {
		t.Errorf("%+v, of all %+v", r.Dentries, s.Counts)
	}
	for text, n := range map[string]uint64{".<n>_dOeSnotExist_.db": 22000, ".00001*_dOeSnotExist_.db": 10, "blob-*": 500} {
		if r = dentries(t, fs, census.Options{Pattern: text}); r.Dentries.Total != n {
			t.Errorf("%s: %+v", text, r.Dentries)
		}
	}
}

// TestByChains: a walk over the hash chains finds what is hashed.
func TestByChains(t *testing.T) {
	fs := kerneltest.MainFS(t)
	r := dentries(t, fs, census.Options{Chains: true})
	whole := dentries(t, fs, census.Options{})
	if r.Source != census.SourceChains || r.WhyChains == "" || r.Dentries.Total != whole.Dentries.Hashed || r.Dentries.OnLRU != whole.Dentries.OnLRU || r.Counters != nil {
		t.Errorf("%s: %+v, swept %+v", r.Source, r.Dentries, whole.Dentries)
	}
}

// TestEachRelease: on every layout and allocator the census is the plan's.
func TestEachRelease(t *testing.T) {
	for i, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			s := described(l, synthetic.Machine{HashBits: 8, Nodes: 1 + i%2}, uint64(i))
			var codec []dumpwriter.Codec
			if i%4 == 2 {
				codec = []dumpwriter.Codec{dumpwriter.LZO}
			}
			fs := kerneltest.SyntheticFS(t, s, codec...)
			r := dentries(t, fs, census.Options{Workers: 1 + i%3, Top: 1000})
			checkPlan(t, s, r)
			d, err := dcache.Analyze(t.Context(), fs, dcache.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Chains.Hashed != d.Dentries.Total || r.Chains.Longest != d.Table.Longest || r.Dentries.Hashed != d.Dentries.Total {
				t.Errorf("by hashes %+v, hashed %d; chains walked %d, the longest %d", r.Chains, r.Dentries.Hashed, d.Dentries.Total, d.Table.Longest)
			}
			// Without struct pages there are the chains.
			s = synthetic.NewScene(l, synthetic.Machine{HashBits: 8}, uint64(i))
			if r = dentries(t, kerneltest.SyntheticFS(t, s), census.Options{}); r.Source != census.SourceChains || r.WhyChains == "" || r.Dentries.Total == 0 {
				t.Errorf("without struct pages: %s, %q, %+v", r.Source, r.WhyChains, r.Dentries)
			}
		})
	}
}

// described is a scene of a machine whose slabs are described, some of them with free
// objects, and whose pipes nobody can mount.
func described(l *synthetic.Layout, m synthetic.Machine, seed uint64) *synthetic.Scene {
	m.MemMap, m.Full, m.RAM = true, true, 40<<20
	s := synthetic.NewScene(l, m, seed)
	s.Pipe.Set("s_flags", 1<<31) // SB_NOUSER
	var all []uint64
	for range 100 {
		all = append(all, s.Kmalloc(192))
	}
	for i, addr := range all {
		if i%3 == 0 {
			s.Free(addr)
		}
	}
	return s
}

// checkPlan compares a census with a scene.
func checkPlan(t *testing.T, s *synthetic.Scene, r *census.DentryReport) {
	t.Helper()
	var want census.Counts
	dirs := map[string]uint64{}
	supers := map[uint64]uint64{}
	for _, d := range s.Dentries() {
		want.Total++
		supers[d.Super.Addr]++
		dirs[s.Path(d.Parent)]++
		if d.Inode == nil {
			want.Negative++
		}
		if d.Hashed {
			want.Hashed++
		}
		switch {
		case d.LRU:
			want.OnLRU++
			if d.Inode == nil {
				want.NegLRU++
			}
			if slices.Contains(s.FlagNames(d), "REFERENCED") {
				want.Referenced++
			}
		case d.Count() > 0:
			want.InUse++
			if !d.Hashed {
				want.Held++
			}
		}
	}
	for _, sb := range s.Supers() {
		want.Total++
		want.InUse++ // its root
		supers[sb.Addr]++
	}
	got := r.Dentries
	want.Bytes, want.Killed, want.LRUInUse = got.Bytes, 0, 0
	if got != want || got.Bytes == 0 || !r.Coverage.Complete() || r.Strange != 0 || r.Source != census.SourceSlabs {
		t.Errorf("counted %+v, planned %+v; %s %s, %d strange, %+v", got, want, r.Source, r.WhyChains, r.Strange, r.Coverage)
	}
	for _, one := range r.Supers {
		if one.Total != supers[uint64(one.Addr)] || !one.Listed {
			t.Errorf("%s: %d, planned %d", one.ID, one.Total, supers[uint64(one.Addr)])
		}
	}
	for path, n := range dirs {
		if d := directory(r, path); d.Dentries != n {
			t.Errorf("%s: %d children, planned %d", path, d.Dentries, n)
		}
	}
	if p := pattern(r, ".<n>_dOeSnotExist_.db"); p.Dentries == 0 || p.Negative != p.Dentries || !strings.HasSuffix(p.Samples[0].Name, "_dOeSnotExist_.db") {
		t.Errorf("%+v", p)
	}
	if len(r.Held) != 1 || r.Held[0].Path != "/tmp/deleted" {
		t.Errorf("held: %+v", r.Held)
	}
}
