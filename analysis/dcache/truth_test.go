package dcache_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/recorded"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

func analyze(t testing.TB, fs *vfs.FS, opt dcache.Options) *dcache.Report {
	t.Helper()
	r, err := dcache.Analyze(context.Background(), fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Coverage.Complete() {
		t.Errorf("the fixture's dentries are all in the dump, yet: %+v", r.Coverage)
	}
	return r
}

// group finds the entries of a name in /proc/sys/net among the longest chains.
func group(t *testing.T, r *dcache.Report, name string) (*dcache.Chain, *dcache.Group) {
	t.Helper()
	for i := range r.Chains {
		for j := range r.Chains[i].Groups {
			g := &r.Chains[i].Groups[j]
			if g.Path == "/proc/sys/net" && g.Name == name {
				return &r.Chains[i], g
			}
		}
	}
	t.Fatalf("no chain of %q in /proc/sys/net among the longest", name)
	return nil, nil
}

// TestOwnersAreTheGuests compares the owners of the planted chains with the
// namespaces that the guest made.
func TestOwnersAreTheGuests(t *testing.T) {
	truth := fixtures.Truth(t, "main")
	want := map[uint64]dcache.OwnerState{truth.Nets.Init: dcache.OwnerInit}
	peopled := map[uint64]int32{} // a process in each namespace that has one
	for _, task := range truth.Tasks {
		if peopled[task.NS["net"]] == 0 {
			peopled[task.NS["net"]] = int32(task.Pid)
		}
	}
	for _, n := range truth.Nets.Live {
		want[n.Inode] = dcache.OwnerIdle
		if peopled[n.Inode] != 0 {
			want[n.Inode] = dcache.OwnerLiving
		}
	}
	for _, inode := range truth.Nets.Dying {
		want[inode] = dcache.OwnerDying
	}
	opt := dcache.Options{Entries: -1}
	checkOwners(t, analyze(t, kerneltest.MainFS(t), opt), want, peopled)

	// Where the list of tasks is broken the pid structures tell.
	hurt := kerneltest.OverlayOn(t, kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main)))
	hurt.BreakTaskList()
	fs, err := vfs.Open(hurt.Open())
	if err != nil {
		t.Fatal(err)
	}
	r, err := dcache.Analyze(t.Context(), fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	if r.Coverage.Complete() {
		t.Error("nothing is said of the broken list of tasks")
	}
	checkOwners(t, r, want, peopled)
}

func checkOwners(t *testing.T, r *dcache.Report, want map[uint64]dcache.OwnerState, peopled map[uint64]int32) {
	t.Helper()
	truth := fixtures.Truth(t, "main")
	for _, name := range []string{"ipv6", "core"} {
		_, g := group(t, r, name)
		if g.Dentries.Total != uint64(len(want)) || len(g.Entries) != len(want) || g.Owners.Sets != len(want) {
			t.Errorf("%s: %d dentries, %d entries, %d sets; the guest made %d namespaces that opened it",
				name, g.Dentries.Total, len(g.Entries), g.Owners.Sets, len(want))
		}
		seen := map[uint64]bool{}
		for _, e := range g.Entries {
			inode := uint64(e.NetInum)
			if seen[inode] {
				t.Errorf("%s: namespace %d has two entries", name, inode)
			}
			seen[inode] = true
			if want[inode] == dcache.OwnerLiving && !slices.ContainsFunc(e.Members, func(m dcache.Member) bool {
				return m.PID == peopled[inode]
			}) {
				t.Errorf("%s: namespace %d has %+v; the guest knows process %d in it", name, inode, e.Members, peopled[inode])
			}
			if state := dcache.OwnerState(e.Owner); state != want[inode] {
				t.Errorf("%s: the owner of namespace %d is %q; the guest knows %q", name, inode, state, want[inode])
			}
		}
		// The guest opened init_net's own entries before all others, and
		// entries are added at the head.
		if d := g.Owners.InitDepth; d == nil || *d < len(want)-1 {
			t.Errorf("%s: the depth of init_net's entry is %v; want at least %d", name, d, len(want)-1)
		}
		if g.Owners.Dying != len(truth.Nets.Dying) || g.Owners.WithTasks+g.Owners.WithoutTasks != len(truth.Nets.Live) {
			t.Errorf("%s: owners %+v; want %d dying and %d living", name, g.Owners, len(truth.Nets.Dying), len(truth.Nets.Live))
		}
		if g.FileSystem != "proc" || g.SuperID != "proc" {
			t.Errorf("%s: file system %q, s_id %q", name, g.FileSystem, g.SuperID)
		}
	}
}

// TestNegativesAreTheGuests: the guest looked up that many names that do not
// exist, and counts its negative dentries itself.
func TestNegativesAreTheGuests(t *testing.T) {
	truth := fixtures.Truth(t, "main")
	r := analyze(t, kerneltest.MainFS(t), dcache.Options{})
	planted := uint64(0)
	for _, n := range truth.Dentries.Negative {
		planted += uint64(n.Count)
	}
	var total, unused, ageLimit, wantPages, negative, dummy int
	state := truth.Late["/proc/sys/fs/dentry-state"]
	if _, err := fmt.Sscan(state, &total, &unused, &ageLimit, &wantPages, &negative, &dummy); err != nil {
		t.Fatalf("dentry-state %q: %v", state, err)
	}
	if r.Dentries.Negative < planted || r.Dentries.Negative > uint64(negative)+50 {
		t.Errorf("%d negative dentries; the guest planted %d and counted %d in all", r.Dentries.Negative, planted, negative)
	}
	// The guest counts pipes, sockets and roots too, which are not hashed, and
	// goes on for a moment after it wrote its count.
	if r.Dentries.Total > uint64(total)+50 || r.Dentries.Total+1000 < uint64(total) {
		t.Errorf("%d hashed dentries; the guest counted %d in all", r.Dentries.Total, total)
	}
	if diff := int64(r.Dentries.OnLRU) - int64(unused); diff < -50 || diff > 50 {
		t.Errorf("%d dentries on the LRU; the guest counted %d", r.Dentries.OnLRU, unused)
	}
}

func hex(t *testing.T, s string) kernel.Addr {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kernel.Addr(n)
}

// TestDrgnAgrees compares the walk with drgn's on the same dump.
func TestDrgnAgrees(t *testing.T) {
	var drgn recorded.Drgn
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	r := analyze(t, kerneltest.MainFS(t), dcache.Options{Entries: -1, Top: len(drgn.Dcache.LongChains) + 5})
	d := &drgn.Dcache
	if r.Table.Addr != hex(t, d.Table) || r.Table.Buckets != 1<<(32-d.Shift) || r.Dentries.Total != d.Hashed {
		t.Errorf("table at %s of %d buckets with %d dentries; drgn: %s, 1<<(32-%d), %d",
			r.Table.Addr, r.Table.Buckets, r.Dentries.Total, d.Table, d.Shift, d.Hashed)
	}
	bins := map[int]uint64{}
	for text, buckets := range d.Histogram {
		length, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.Histogram, func(b dcache.Bin) bool { return b.From <= length && length <= b.To })
		if i < 0 {
			t.Fatalf("no bin for drgn's length %d", length)
		}
		bins[i] += buckets
	}
	for i, b := range r.Histogram {
		if b.Buckets != bins[i] {
			t.Errorf("%d buckets of length %d to %d; drgn: %d", b.Buckets, b.From, b.To, bins[i])
		}
	}
	for _, want := range d.LongChains {
		i := slices.IndexFunc(r.Chains, func(c dcache.Chain) bool { return c.Bucket == want.Bucket })
		if i < 0 || r.Chains[i].Length != want.Length {
			t.Errorf("bucket %d of %d dentries, which drgn found, is not among the longest", want.Bucket, want.Length)
			continue
		}
		compareChain(t, &r.Chains[i], want)
	}
}

func compareChain(t *testing.T, c *dcache.Chain, want recorded.DrgnChain) {
	t.Helper()
	entries := make([]dcache.Entry, c.Length)
	names := make([]string, c.Length)
	for _, g := range c.Groups {
		for _, e := range g.Entries {
			entries[e.Index], names[e.Index] = e, g.Name
		}
	}
	for i, w := range want.Entries {
		e := entries[i]
		if e.Addr != hex(t, w.Dentry) || names[i] != w.Name || e.Count != w.Count || e.Inode != hex(t, w.Inode) {
			t.Errorf("bucket %d, place %d: %s %q count %d inode %s; drgn: %+v", c.Bucket, i, e.Addr, names[i], e.Count, e.Inode, w)
		}
		if w.Set == "" {
			continue
		}
		dead := w.Unregistering != "0"
		if (e.Owner == string(dcache.OwnerDead)) != dead || !dead && (e.Set != hex(t, w.Set) || e.NetInum != w.NetInum) {
			t.Errorf("bucket %d, place %d: owner %q, set %s, namespace %d; drgn: %+v", c.Bucket, i, e.Owner, e.Set, e.NetInum, w)
		}
	}
}

// TestLaws checks what must hold whatever the dump.
func TestLaws(t *testing.T) {
	one := analyze(t, kerneltest.MainFS(t), dcache.Options{Workers: 1})
	var buckets, dentries uint64
	expected := 0.0
	for _, b := range one.Histogram {
		buckets += b.Buckets
		dentries += b.Dentries
		expected += b.Expected
	}
	if buckets != one.Table.Buckets || dentries != one.Dentries.Total {
		t.Errorf("the histogram sums up to %d buckets and %d dentries; the table has %d and %d",
			buckets, dentries, one.Table.Buckets, one.Dentries.Total)
	}
	if diff := expected - float64(one.Table.Buckets); diff < -1 || diff > 1 {
		t.Errorf("the expected buckets sum up to %g of %d", expected, one.Table.Buckets)
	}
	many := analyze(t, kerneltest.MainFS(t), dcache.Options{Workers: 7})
	if fmt.Sprintf("%+v", one.Chains) != fmt.Sprintf("%+v", many.Chains) && len(one.Chains) != len(many.Chains) {
		t.Error("the answer depends on the number of workers")
	}
}
