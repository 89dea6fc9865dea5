package census

import (
	"hash/maphash"
	"testing"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// FuzzDentry: whatever the bytes of a dentry are, it is counted once, or told to be
// none.
func FuzzDentry(f *testing.F) {
	fs := kerneltest.MainFS(f)
	known := map[uint64]*vfs.SuperBlock{}
	for sb, err := range fs.SuperBlocks() {
		if err != nil {
			f.Fatal(err)
		}
		known[sb.Addr] = sb
		if root, err := fs.Dentry(sb.Root); err == nil {
			b := make([]byte, fs.DentrySpan())
			if _, err := fs.Kernel().Read(b, root.Addr); err == nil {
				f.Add(b, root.Addr)
			}
		}
	}
	table, err := fs.HashTable()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, object []byte, addr uint64) {
		if len(object) < fs.DentrySpan() {
			return
		}
		s := newShared(fs, superList{}, Options{Room: 16, Held: 4}, nil)
		s.known, s.size, s.seed, s.table = known, 192, maphash.MakeSeed(), table
		s.long.Store(1)
		c := newTally(s)
		for _, doubt := range []bool{false, true} {
			var d vfs.Dentry
			fs.DecodeDentry(&d, addr, object[:fs.DentrySpan()])
			before := c.strange
			for _, one := range c.supers {
				n := one.counts(1)
				before += n.Total
			}
			c.add(&d, doubt)
			after := c.strange
			for _, one := range c.supers {
				n := one.counts(1)
				after += n.Total
				if n.Negative > n.Total || n.InUse+n.OnLRU+n.Killed > n.Total || n.Hashed > n.Total {
					t.Fatalf("%+v", n)
				}
			}
			if after != before+1 {
				t.Fatalf("one object counts %d times", after-before)
			}
		}
		_ = chainLengths(c)
	})
}
