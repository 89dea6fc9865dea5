package hash_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/analysis/hash"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/hashtable"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func analyze(t *testing.T, k *kernel.Kernel, opt hash.Options) *hash.Report {
	t.Helper()
	r, err := hash.Analyze(t.Context(), k, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAll: of all tables of the guest the dentries' is the worst, by the chains
// that were planted, and agrees with what package dcache walks.
func TestAll(t *testing.T) {
	fs := kerneltest.MainFS(t)
	r := analyze(t, fs.Kernel(), hash.Options{Entries: 4})
	d, err := dcache.Analyze(t.Context(), fs, dcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	worst := r.Tables[0]
	if !r.Coverage.Complete() || len(r.Tables) < 30 || worst.Name != "dentry" || worst.Longest != d.Table.Longest ||
		worst.Entries != d.Dentries.Total || worst.Used != d.Table.Used || worst.ExpectedLongest != d.Table.ExpectedLongest || worst.Long != d.Long {
		t.Errorf("%+v; dcache: %+v, %+v; %+v", worst, d.Table, d.Dentries, r.Coverage)
	}
	for i, c := range worst.Chains {
		if c.Bucket != d.Chains[i].Bucket || c.Length != d.Chains[i].Length || len(c.Entries) != 4 {
			t.Errorf("chain %d: %+v, dcache: bucket %d of %d", i, c, d.Chains[i].Bucket, d.Chains[i].Length)
		}
	}
	if len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Statement, "dentry") {
		t.Errorf("%+v", r.Findings)
	}
	sum := uint64(0)
	for _, b := range worst.Histogram {
		sum += b.Buckets
	}
	if sum != worst.Buckets {
		t.Errorf("the histogram has %d of %d buckets", sum, worst.Buckets)
	}
}

// TestEachRelease: the tables of dentries and of network devices are found by the
// types of every kernel release.
func TestEachRelease(t *testing.T) {
	for i, l := range synthetic.Releases() {
		s := synthetic.NewScene(l, synthetic.Machine{HashBits: 6, Nodes: 1 + i%2}, uint64(i))
		k := kerneltest.Synthetic(t, s)
		r := analyze(t, k, hash.Options{Names: []string{"dentry"}, Top: 1 << 20, Entries: -1})
		planned := s.Chains()
		if len(r.Tables) != 1 || r.Tables[0].Buckets != 64 || int(r.Tables[0].Used) != len(planned) || !r.Coverage.Complete() {
			t.Errorf("%s: %+v", l.Name, r)
			continue
		}
		for _, c := range r.Tables[0].Chains {
			if c.Length != len(planned[c.Bucket]) {
				t.Errorf("%s: chain %d is %d long, planned %d", l.Name, c.Bucket, c.Length, len(planned[c.Bucket]))
				continue
			}
			for j, e := range c.Entries {
				if uint64(e) != planned[c.Bucket][j].Addr {
					t.Errorf("%s: chain %d: entry %d is %s, planned %#x", l.Name, c.Bucket, j, e, planned[c.Bucket][j].Addr)
				}
			}
		}
	}
}

// TestAllNets: each network namespace has its own tables, and some share them.
func TestAllNets(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	r := analyze(t, k, hash.Options{Names: []string{"device-name", "tcp-net"}, Nets: true})
	inums := map[uint32]bool{}
	shared := 0
	for _, table := range r.Tables {
		if table.Name == "tcp-net" {
			shared++
		} else {
			inums[table.NetInum] = true
		}
	}
	nets, err := hashtable.New(k).Nets()
	if err != nil {
		t.Fatal(err)
	}
	if len(inums) != len(nets)+1 || shared != 1 {
		t.Errorf("%d namespaces with a table, %d tables of TCP", len(inums), shared)
	}
}

func TestWrongNames(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	for _, name := range []string{"nosuch", "conntrack", "1 +", "inode_hashtable", "pid"} {
		if r, err := hash.Analyze(t.Context(), k, hash.Options{Names: []string{name}}); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	_, err := hash.Analyze(t.Context(), k, hash.Options{Names: []string{"inode_hashtable"}})
	if !errors.Is(err, hashtable.ErrCount) {
		t.Errorf("%v", err)
	}
}

func ExampleAnalyze() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	r, err := hash.Analyze(context.Background(), k, hash.Options{Names: []string{"dentry", "mount"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range r.Tables {
		fmt.Println(t.Name, t.Longest > 10*t.ExpectedLongest)
	}
	// Output:
	// dentry true
	// mount false
}
