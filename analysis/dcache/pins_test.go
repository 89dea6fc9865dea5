package dcache_test

import (
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// Below one directory a name may end the tree more than once, and more than is looked at:
// the count is that of the ends seen, and said to be a lower bound. A directory whose own
// entries were not looked at any more is no end.
func TestPinsOfOneDirectory(t *testing.T) {
	for _, c := range []struct {
		children int
		least    bool
	}{{20, false}, {41, true}} {
		k := synthetic.New(synthetic.V6_1(), synthetic.Machine{HashBits: 16})
		net := k.Dentry(k.SuperBlock("proc", "proc").Root, "net")
		k.Dentry(net, "alone", synthetic.OnLRU)
		for range c.children {
			k.Dentry(k.Dentry(net, "core"), "somaxconn", synthetic.OnLRU)
		}
		r, err := dcache.Analyze(t.Context(), kerneltest.SyntheticFS(t, k), dcache.Options{MinLength: 1, Top: 1000})
		if err != nil {
			t.Fatal(err)
		}
		p := pinsOf(r, "net")
		if p == nil || len(p.Leaves) == 0 || p.Sampled != 1 || p.Directories != 1 || (p.Cut == 1) != c.least || strings.HasPrefix(p.Times(&p.Leaves[0]), "at least ") != c.least {
			t.Fatalf("%d children: %+v", c.children, p)
		}
		for _, l := range p.Leaves {
			switch {
			case l.Path == "alone" && l.Count == 1 && l.Reclaimable == 1:
			case l.Path == "core/somaxconn" && l.Reclaimable == l.Count && (l.Count == c.children || c.least && l.Count < c.children && l.Count > 20):
			default:
				t.Errorf("%d children: %+v", c.children, p.Leaves)
			}
		}
	}
}

// pinsOf are those of the directory of a name.
func pinsOf(r *dcache.Report, name string) *dcache.Pins {
	for _, c := range r.Chains {
		for _, g := range c.Groups {
			if g.Name == name {
				return g.Pins
			}
		}
	}
	return nil
}
