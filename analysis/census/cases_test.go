package census_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// case2 is the machine of case 2, with so many dentries that fill 86 % of memory,
// read without being written to any disk.
func case2(t testing.TB, l *synthetic.Layout, n uint64) (*synthetic.MemCase2, *vfs.FS) {
	t.Helper()
	pages := n/20 + n/20/6 + 8192
	c := synthetic.NewMemCase2(l, synthetic.Machine{RAM: pages << 12 &^ (1<<20 - 1), HashBits: 17}, n)
	image, err := c.Dump().OpenVirtual()
	return c, kerneltest.SyntheticFSIn(t, c.Kernel, image, err)
}

func agree(t *testing.T, r *census.DentryReport) {
	t.Helper()
	for _, c := range r.Counters {
		if c.Kernel != c.Counted {
			t.Errorf("%+v", c)
		}
	}
	if len(r.Counters) < 2 || !r.Coverage.Complete() || r.Source != census.SourceSlabs {
		t.Errorf("%s %s, %d counters, %+v", r.Source, r.WhyChains, len(r.Counters), r.Coverage)
	}
}

// says tells whether a finding has all words, wherever they stand in it.
func says(t *testing.T, f finding.Finding, words ...string) {
	t.Helper()
	text := f.Statement + "\n" + strings.Join(f.Advice, "\n")
	for _, e := range f.Evidence {
		text += "\n" + e.Fact + "\n" + e.Command
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the finding does not say %q:\n%s", w, text)
		}
	}
}

// TestCase2: on the layout of 2.6.32 with SLAB, with a hundredth of the dentries, the
// census says what the case asks for.
func TestCase2(t *testing.T) {
	n := uint64(2_800_000)
	if testing.Short() {
		n /= 20
	}
	c, fs := case2(t, synthetic.EL6(), n)
	r := dentries(t, fs, census.Options{})
	agree(t, r)
	want := census.Counts{Total: n + uint64(c.InUse), Negative: n, InUse: uint64(c.InUse), OnLRU: n, NegLRU: n, Hashed: n + uint64(c.InUse) - 1}
	want.Bytes = want.Total * 192
	if r.Dentries != want {
		t.Errorf("%+v, planned %+v", r.Dentries, want)
	}
	if d := r.Directories[0]; d.Path != "/etc/pki/nssdb" || d.Negative != n || d.Dentries != n+3 || d.Pattern != ".<n>_dOeSnotExist_.db" || r.DirectoryError != 0 {
		t.Errorf("%+v", d)
	}
	if p := r.Patterns[0]; p.Pattern != ".<n>_dOeSnotExist_.db" || p.Dentries != n || p.Directory != "/etc/pki/nssdb" {
		t.Errorf("%+v", p)
	}
	longest := 0
	for bucket := range uint64(1) << 17 {
		longest = max(longest, int(c.Bulk.Chained(bucket)))
	}
	if r.Chains.Hashed != want.Hashed || r.Chains.Longest < longest || r.Chains.Longest > longest+3 {
		t.Errorf("by hashes: %d in chains, the longest %d; planned %d, %d", r.Chains.Hashed, r.Chains.Longest, want.Hashed, longest)
	}
	if len(r.Findings) != 1 {
		t.Fatalf("%+v", r.Findings)
	}
	if f := r.Findings[0]; f.ID != "dentries.nss-negative" || f.Severity != finding.Critical && !testing.Short() {
		t.Errorf("%+v", f)
	}
	share := fmt.Sprintf("%d %% of memory", int(100*float64(r.Caches[0].Bytes)/float64(c.Machine.RAM)+0.5))
	says(t, r.Findings[0], share, "99.99 %", "sdb_measureAccess", "NSS_SDB_USE_CACHE=yes", "3.16.1", "vfs_cache_pressure does not help",
		"/etc/pki/nssdb", ".<n>_dOeSnotExist_.db", "dentries --dir '/etc/pki/nssdb'", "dentries --pattern")
}

// TestCase4: dentries of deleted files by state, and who holds which.
func TestCase4(t *testing.T) {
	for i, l := range synthetic.Releases() {
		n := 40_000
		if i > 0 {
			n = 2000 // the case's own release is the first
		}
		c := synthetic.NewMemCase4(l, synthetic.Machine{HashBits: 10, Full: true, RAM: 48 << 20}, n)
		image, err := c.Image()
		fs := kerneltest.SyntheticFSIn(t, c.Kernel, image, err)
		r := dentries(t, fs, census.Options{})
		agree(t, r)
		state := map[string]census.State{}
		for _, s := range r.States {
			state[s.Name] = s
		}
		fresh, used := state["unused on the LRU"], state["unused on the LRU, referenced"]
		if fresh.Negative != uint64(c.Gone) || int(fresh.Dentries+used.Dentries) != c.Gone+c.Unused || int(used.Dentries) != (c.Unused+1)/2 || state["in use, unhashed"].Dentries != 2 {
			t.Errorf("%s: %+v, planned %d deleted, %d unused", l.Name, r.States, c.Gone, c.Unused)
		}
		if r.Supers[0].ID != "sdb1" || r.Supers[0].OnLRU != uint64(c.Gone+c.Unused) || *r.Supers[0].LRUCounter != int64(c.Gone+c.Unused) {
			t.Errorf("%s: %+v", l.Name, r.Supers[0])
		}
		if p := r.Patterns[0]; p.Pattern != "job-<hex>.tmp" && p.Pattern != "job-<n>.tmp" || p.Directory != "/tmp/spool" {
			t.Errorf("%s: %+v", l.Name, p)
		}
		held := map[string]string{}
		for _, h := range r.Held {
			held[h.Path] = fmt.Sprint(h.Links, h.Size, h.Holders)
		}
		if len(held) != 2 || held["/tmp/spool/journal"] != fmt.Sprintf("0 3145728 [PID 800 spooler (fd %d)]", c.FD) || held["/tmp/spool/work"] != "0 0 [PID 800 spooler (cwd)]" {
			t.Errorf("%s: %v", l.Name, held)
		}
		inodes := inodes(t, fs, census.Options{})
		if inodes.Inodes.Deleted != 2 || len(inodes.Deleted) != 2 || fmt.Sprint(inodes.Deleted[0].Holders) != fmt.Sprintf("[PID 800 spooler (fd %d)]", c.FD) {
			t.Errorf("%s: %+v", l.Name, inodes.Deleted)
		}
		if i > 0 {
			continue
		}
		ids := map[string]bool{}
		for _, f := range r.Findings {
			ids[f.ID] = true
			if f.ID == "dentries.deleted-held" {
				says(t, f, "3.0 MiB", "/tmp/spool/journal", "PID 800 spooler")
			}
		}
		if !ids["dentries.negative-flood"] || !ids["dentries.deleted-held"] {
			t.Errorf("%+v", r.Findings)
		}
	}
}
