package supers_test

import (
	"testing"

	"github.com/kmortem/mortem/analysis/supers"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// The host of dcache's TestCase1: one super_block, s_id proc, holds all the
// dentries that nobody uses, and its list says as many as its counter.
func TestCase1(t *testing.T) {
	plan := synthetic.NewCase1(synthetic.EL7(), synthetic.Machine{RAM: 256 << 20, HashBits: 16}, 8000)
	image, err := plan.Image(dumpwriter.Snappy)
	if err != nil {
		t.Fatal(err)
	}
	info, err := plan.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fs, err := vfs.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	r, err := supers.Analyze(t.Context(), fs)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Coverage.Complete() || len(r.SuperBlocks) != 2 {
		t.Fatalf("%d super_blocks, coverage %+v", len(r.SuperBlocks), r.Coverage)
	}
	hashed, unused := uint64(0), uint64(2*len(plan.Entries[0]))
	for _, d := range plan.Dentries() {
		if d.Super == plan.Proc {
			hashed++
		}
	}
	proc := r.SuperBlocks[1]
	if proc.ID != "proc" || proc.UnusedCounter != int64(unused) || proc.UnusedWalked != unused || proc.Hashed != hashed ||
		proc.Inodes != uint64(len(plan.Proc.Inodes)) || len(proc.Mounts) != 1 || proc.Mounts[0].Path != "/proc" {
		t.Errorf("%+v; planned are %d hashed and %d unused", proc, hashed, unused)
	}
	if root := r.SuperBlocks[0]; root.UnusedCounter != 0 || root.UnusedWalked != 0 || root.Hashed != 1 {
		t.Errorf("%+v", root)
	}
}
