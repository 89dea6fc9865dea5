package slab_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/analysis/mem"
	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// The machine whose memory is dentries of names that NSS looked for, at a hundredth, on
// the layout of 2.6.32 with SLAB: the cache is named with its share of memory, and the
// counts are those of the plan.
func TestCase2(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: a machine of 640 MB is built and swept")
	}
	const dentries = 2_807_264
	plan := synthetic.New(synthetic.EL6(), synthetic.Machine{RAM: 640 << 20, CPUs: 24, MemMap: true, HashBits: 14})
	root := plan.SuperBlock("ext4", "sda3")
	plan.Mount(root, nil)
	nssdb := plan.Dentry(plan.Dentry(plan.Dentry(root.Root, "etc"), "pki"), "nssdb")
	plan.AddBulk(nssdb, dentries, func(buf []byte, i uint64) []byte { return fmt.Appendf(buf, ".%d_dOeSnotExist_.db", i) })
	image, err := plan.Dump().OpenVirtual()
	k := kerneltest.SyntheticIn(t, plan, image, err)
	r := analyze(t, open(t, k), slab.Options{Top: 1})
	c := r.Caches[0]
	var want *synthetic.Cache
	for _, p := range plan.Caches() {
		if p.Name == "dentry" {
			want = p
		}
	}
	if r.Allocator != "SLAB" || c.Name != "dentry" || c.Live != uint64(want.Live()) || !r.Coverage.Complete() {
		t.Errorf("%s: %+v, planned %d; %+v", r.Allocator, c, want.Live(), r.Coverage)
	}
	share := float64(c.Bytes) / float64(r.Memory)
	if len(r.Findings) != 1 || r.Findings[0].Severity != finding.Critical || share < 0.80 || share > 0.90 ||
		!strings.Contains(r.Findings[0].Statement, fmt.Sprintf("the slab cache dentry fills %.0f %% of memory: %d live objects of 192 bytes", 100*share, c.Live)) {
		t.Errorf("%.2f: %+v", share, r.Findings)
	}
	checkMem(t, k, share)
}

// checkMem: what /proc/meminfo would have said leads to the slab caches too.
func checkMem(t *testing.T, k *kernel.Kernel, share float64) {
	t.Helper()
	fs, err := vfs.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	r, err := mem.Analyze(t.Context(), fs, mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := float64(r.Info.SReclaimable) / float64(r.Info.MemTotal)
	if got < share || got > share+0.005 || !r.Coverage.Complete() {
		t.Errorf("%.3f of memory are reclaimable slabs, and the cache alone is %.3f; %+v", got, share, r.Coverage)
	}
	for _, u := range r.Uses {
		if u.Bytes > int64(r.Info.SReclaimable) {
			t.Errorf("%s is more than the slabs: %d bytes", u.Name, u.Bytes)
		}
	}
}
