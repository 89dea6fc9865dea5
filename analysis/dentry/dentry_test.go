package dentry_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/dentry"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/recorded"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

func describe(t *testing.T, target string, opt dentry.Options) *dentry.Report {
	t.Helper()
	fs := kerneltest.MainFS(t)
	d, err := dentry.Find(fs, target)
	if err != nil {
		t.Fatal(err)
	}
	r, err := dentry.Describe(fs, d, opt)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Coverage.Complete() {
		t.Errorf("%s: %+v", target, r.Coverage)
	}
	return r
}

func hex(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDrgnAgrees compares a sample of dentries with drgn's reading of the dump.
func TestDrgnAgrees(t *testing.T) {
	var drgn recorded.Drgn
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	if len(drgn.Dcache.Sample) < 100 {
		t.Fatalf("drgn's sample has only %d dentries", len(drgn.Dcache.Sample))
	}
	fs := kerneltest.MainFS(t)
	for _, want := range drgn.Dcache.Sample {
		r := describe(t, want.Dentry, dentry.Options{})
		d, err := fs.Dentry(hex(t, want.Dentry))
		if err != nil {
			t.Fatal(err)
		}
		path, err := fs.Path(d)
		if err != nil || path != want.Path || r.Name != want.Name || hex(t, r.Hash[2:]) != hex(t, want.Hash) {
			t.Errorf("%s: path %q, name %q, hash %s, %v; drgn: %+v", want.Dentry, path, r.Name, r.Hash, err, want)
		}
		if r.Bucket == nil || *r.Bucket != want.Bucket || r.Place == nil || *r.Place != want.Place {
			t.Errorf("%s: bucket %v, place %v; drgn: %d, %d", want.Dentry, r.Bucket, r.Place, want.Bucket, want.Place)
		}
		inode := kernel.Addr(0)
		if r.Inode != nil {
			inode = r.Inode.Addr
		}
		if uint64(r.Flags) != hex(t, want.Flags) || r.Count != want.Count || uint64(inode) != hex(t, want.Inode) ||
			r.Children != want.Children || r.SuperBlock.ID != want.SuperID || uint64(r.SuperBlock.Addr) != hex(t, want.Super) {
			t.Errorf("%s: %+v; drgn: %+v", want.Dentry, r, want)
		}
	}
}

// maxGuestPath is where the guest's module cuts paths off.
const maxGuestPath = 191

// TestPlantedDentries compares dentries that the guest's kernel module looked
// up by itself: their addresses, inodes and paths.
func TestPlantedDentries(t *testing.T) {
	truth := fixtures.Truth(t, "main")
	if len(truth.Plant.Dentries) == 0 {
		t.Fatal("the guest's truth names no dentries")
	}
	for _, want := range truth.Plant.Dentries {
		r := describe(t, want.Dentry, dentry.Options{})
		inode := uint64(0)
		if r.Inode != nil {
			inode = uint64(r.Inode.Addr)
		}
		if inode != hex(t, want.Inode) || uint64(r.SuperBlock.Addr) != hex(t, want.SuperBlock) {
			t.Errorf("%s: inode %#x, super_block %s; the guest: %+v", want.Label, inode, r.SuperBlock.Addr, want)
		}
		path, deleted := strings.CutSuffix(want.Path, " (deleted)")
		if deleted == r.Hashed {
			t.Errorf("%s: hashed is %v; the guest says %q", want.Label, r.Hashed, want.Path)
		}
		switch {
		case want.Label == "fd-file":
			// It is below a mount that was detached, for which the guest's
			// d_path stops at the mount's root.
			path = "tmpfs:" + path
		case len(path) == maxGuestPath:
			r.Path = r.Path[:min(len(r.Path), maxGuestPath)]
		}
		if r.Path != path {
			t.Errorf("%s: path %q; the guest says %q", want.Label, r.Path, path)
		}
	}
}

// TestPaths looks dentries up the way the guest names them.
func TestPaths(t *testing.T) {
	truth := fixtures.Truth(t, "main")
	for _, path := range append([]string{"/", "/proc", "/mnt", truth.Dentries.Deep}, truth.Nets.Paths...) {
		r := describe(t, path, dentry.Options{})
		if r.Path != path {
			t.Errorf("%s was found as %s", path, r.Path)
		}
		if r.Inode == nil {
			t.Errorf("%s is negative", path)
		}
	}
	for _, dir := range truth.Dentries.Negative {
		r := describe(t, dir.Dir, dentry.Options{Children: -1})
		if r.Children < uint64(dir.Count) || uint64(len(r.List)) != r.Children {
			t.Errorf("%s has %d children, %d listed; the guest planted %d of one pattern", dir.Dir, r.Children, len(r.List), dir.Count)
		}
	}
}

// TestInitNetSeesItsOwn: of the entries of many network namespaces, a path
// leads to the one that a process of init_net is given, the oldest of the chain.
func TestInitNetSeesItsOwn(t *testing.T) {
	r := describe(t, "/proc/sys/net/core", dentry.Options{})
	if r.Place == nil || *r.Place != *r.Length-1 {
		t.Errorf("place %d of %d in the chain; want the last", *r.Place, *r.Length)
	}
}

func TestErrors(t *testing.T) {
	fs := kerneltest.MainFS(t)
	for target, want := range map[string]error{
		"/no/such/name": vfs.ErrNoDentry,
		"relative/path": dentry.ErrTarget,
		"0xnonsense":    dentry.ErrTarget,
	} {
		if _, err := dentry.Find(fs, target); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", target, err, want)
		}
	}
	text, err := fs.Kernel().Symbol("linux_banner")
	if err != nil {
		t.Fatal(err)
	}
	d, err := fs.Dentry(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dentry.Describe(fs, d, dentry.Options{}); !errors.Is(err, dentry.ErrNoDentry) {
		t.Errorf("what is no dentry was described: %v", err)
	}
}
