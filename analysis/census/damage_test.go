package census_test

import (
	"math/rand/v2"
	"testing"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/vfs"
)

// openDamaged opens a dump of which anything may be wrong; nil where it cannot be
// opened at all.
func openDamaged(t *testing.T, d *synthetic.Dump, info debuginfo.Source) *vfs.FS {
	t.Helper()
	image, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		return nil
	}
	fs, err := vfs.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// TestDamage: whatever is written over dentries, inodes, super_blocks and caches, a
// census ends, counts no more than there can be, and what it could not read is in
// its coverage. A dentry whose members are damaged is counted all the same, or is
// told to be none.
func TestDamage(t *testing.T) {
	times := 10
	if testing.Short() {
		times = 3
	}
	for _, l := range []*synthetic.Layout{synthetic.EL6(), synthetic.EL7(), synthetic.V6_12()} {
		s := described(l, synthetic.Machine{HashBits: 8}, 1)
		info, err := s.DebugInfo()
		if err != nil {
			t.Fatal(err)
		}
		sound := dentries(t, openDamaged(t, s.Dump(), info), census.Options{})
		var at []uint64
		for _, d := range s.Dentries() {
			at = append(at, d.Addr)
			if d.Inode != nil {
				at = append(at, d.Inode.Addr)
			}
		}
		for _, sb := range s.Supers() {
			at = append(at, sb.Addr)
		}
		for _, c := range s.Caches() {
			at = append(at, c.Addr)
		}
		r := rand.New(rand.NewPCG(1, uint64(len(at))))
		for range times {
			d := s.Dump()
			for range 1 + r.IntN(20) {
				where := at[r.IntN(len(at))] + r.Uint64N(180)&^7
				switch r.IntN(4) {
				case 0:
					d.PutUint64(where, r.Uint64())
				case 1:
					d.PutUint64(where, at[r.IntN(len(at))])
				case 2:
					d.PutUint64(where, d.WildPointer(r))
				default:
					if r.IntN(5) == 0 {
						d.Exclude(where)
					}
				}
			}
			fs := openDamaged(t, d, info)
			if fs == nil {
				continue
			}
			got, err := census.Dentries(t.Context(), fs, census.Options{})
			if err != nil {
				t.Fatal(err)
			}
			room := uint64(0)
			for _, c := range got.Caches {
				room += c.Objects
			}
			if got.Source == census.SourceSlabs {
				if n := got.Dentries.Total + got.Strange; n > room || n+got.Coverage.Unread()*64 < sound.Dentries.Total && len(got.Caches) > 0 && got.Caches[0].Name == sound.Caches[0].Name {
					t.Errorf("%s: %+v and %d strange, %d before; room for %d; %+v", l.Name, got.Dentries, got.Strange, sound.Dentries.Total, room, got.Coverage)
				}
			}
			if _, err := census.Inodes(t.Context(), fs, census.Options{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
