package vfs_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/list"
	"github.com/kmortem/mortem/kernel/vfs"
)

// The way from a name's hash to its bucket changed four times. The debug
// information does not tell, the dentries do.
func TestIndexFunctions(t *testing.T) {
	for _, c := range []struct {
		layout *synthetic.Layout
		hash   string
		want   vfs.IndexFunc
	}{
		{synthetic.EL6(), "golden", vfs.IndexGolden},
		{synthetic.EL7(), "fold", vfs.IndexFold},
		{synthetic.EL7(), "multiply", vfs.IndexMultiply}, // 4.6, 4.7
		{synthetic.EL8(), "topbits", vfs.IndexTopBits},   // 4.8 to 4.15
		{synthetic.EL8(), "shift", vfs.IndexShift},
	} {
		s := synthetic.NewScene(c.layout.With("d_hash", c.hash), synthetic.Machine{HashBits: 8}, 3)
		table, err := kerneltest.SyntheticFS(t, s.Kernel).HashTable()
		if err != nil {
			t.Errorf("%s: %v", c.hash, err)
			continue
		}
		if table.Index != c.want {
			t.Errorf("%s: taken for %q", c.hash, table.Index)
		}
		for _, d := range s.Dentries() {
			if got := table.BucketOf(d.Hash, d.Parent.Addr); got != d.Bucket {
				t.Errorf("%s: %q is said to be in bucket %d, planned %d", c.hash, d.Name, got, d.Bucket)
			}
		}
	}
}

// Each release names the bits of d_flags as it has them.
func TestFlagNames(t *testing.T) {
	for _, c := range []struct {
		layout *synthetic.Layout
		flags  uint32
		want   string
	}{
		{synthetic.EL6(), 0x18, "[REFERENCED UNHASHED]"},
		{synthetic.EL7(), 0x1080080, "[RCUACCESS LRU_LIST DIRECTORY_TYPE]"},
		{synthetic.EL7(), 0x4100002, "[OP_COMPARE DENTRY_KILLED FILE_TYPE]"},
		{synthetic.EL8(), 0x2800c0, "[REFERENCED RCUACCESS LRU_LIST DIRECTORY_TYPE]"},
		{synthetic.V5_10(), 0x408080, "[DONTCACHE DENTRY_KILLED REGULAR_TYPE]"},
		{synthetic.V6_12(), 0x10600000, "[SYMLINK_TYPE PAR_LOOKUP]"},
		{synthetic.V6_18(), 0x148000, "[MOUNTED LRU_LIST DIRECTORY_TYPE]"},
		{synthetic.V7(), 0x8300200, "[LOOKUP_WAITERS SYMLINK_TYPE PERSISTENT]"},
	} {
		fs := kerneltest.SyntheticFS(t, synthetic.NewScene(c.layout, synthetic.Machine{}, 1).Kernel)
		if got := fmt.Sprint(fs.FlagNames(c.flags)); got != c.want {
			t.Errorf("%s: %#x is %s, want %s", c.layout.Name, c.flags, got, c.want)
		}
	}
}

// A pointer to another directory's child ends the walk there, although the list
// beyond is sound.
func TestListsThatLeadElsewhere(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.EL6(), synthetic.V6_12()} {
		s := synthetic.NewScene(l, synthetic.Machine{HashBits: 6}, 2)
		d := s.Dump()
		a, b := s.Root.Root.Children[2], s.Root.Root.Children[5]
		other := b.Children[len(b.Children)-1] // the first one of its list
		d.PutUint64(a.Children[4].At(s.SiblingMember()), other.At(s.SiblingMember()))
		image, err := d.Open()
		fs := kerneltest.SyntheticFSIn(t, s, image, err)
		dir, err := fs.Dentry(a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		n, broken := 0, error(nil)
		for _, err := range fs.Children(dir) {
			if err != nil {
				broken = err
				break
			}
			n++
		}
		var at *list.BreakError
		if want := len(a.Children) - 4; n != want || !errors.As(broken, &at) {
			t.Errorf("%s: %d children and %v, planned %d up to the break", l.Name, n, broken, want)
		}
	}
}
