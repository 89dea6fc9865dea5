package dcache_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// A host on which each open of a sysctl takes half a second, at a hundredth of
// its size: both chains are found, with whose their entries are, why they stay,
// and what to do.
func TestCase1(t *testing.T) {
	for _, c := range []struct {
		layout *synthetic.Layout
		codec  []dumpwriter.Codec
	}{
		{layout: synthetic.EL7()},
		{layout: synthetic.EL7(), codec: []dumpwriter.Codec{dumpwriter.LZO}},
		{layout: synthetic.EL6()},
	} {
		t.Run(fmt.Sprint(c.layout.Name, c.codec), func(t *testing.T) {
			plan := synthetic.NewCase1(c.layout, synthetic.Machine{RAM: 256 << 20, HashBits: 16}, 8000)
			checkCase1(t, plan, openCase1(t, plan, c.codec))
		})
	}
}

func openCase1(t *testing.T, plan *synthetic.Case1, codec []dumpwriter.Codec) *dcache.Report {
	t.Helper()
	fs := kerneltest.SyntheticFS(t, plan, codec...)
	limit := len(plan.Entries[0]) - 1
	if codec != nil {
		limit += 100
	}
	r, err := dcache.Analyze(t.Context(), fs, dcache.Options{MaxLength: limit})
	if err != nil {
		t.Fatal(err)
	}
	alarm := slices.IndexFunc(r.Findings, func(f finding.Finding) bool { return f.ID == "dcache.chain-over-limit" })
	if raised := alarm >= 0; raised != (r.Table.Longest > limit) || raised && !strings.Contains(r.Findings[alarm].Statement, fmt.Sprint(r.Table.Longest)) {
		t.Errorf("limit %d, longest %d: %+v", limit, r.Table.Longest, r.Findings)
	}
	return r
}

func checkCase1(t *testing.T, plan *synthetic.Case1, r *dcache.Report) {
	t.Helper()
	if !r.Coverage.Complete() {
		t.Errorf("coverage: %+v", r.Coverage)
	}
	if r.Table.ExpectedLongest > 20 {
		t.Errorf("a random hash is said to give chains of %d", r.Table.ExpectedLongest)
	}
	for i, name := range plan.Names {
		g := groupOf(r, name)
		if g == nil {
			t.Fatalf("no chain of %q", name)
		}
		checkCase1Chain(t, plan, i, g)
	}
	checkChurn(t, plan, r)
	var chains []finding.Finding
	for _, f := range r.Findings {
		if f.ID == "dcache.sysctl-chain" {
			chains = append(chains, f)
		}
	}
	if len(chains) != 2 || chains[0].Severity != finding.Warning || chains[0].Confidence != finding.Certain {
		t.Fatalf("findings: %+v", r.Findings)
	}
	said := fmt.Sprint(chains)
	for _, part := range []string{
		fmt.Sprintf("%d entries of", len(plan.Entries[0])),
		fmt.Sprintf("each lookup of it from init_net compares %d dentries", len(plan.Entries[0])),
		fmt.Sprintf("of dead ones %d (ctl_table_header.unregistering is set)", plan.Dead),
		fmt.Sprintf("%d with tasks and %d without", len(plan.Busy), len(plan.Idle)),
		fmt.Sprintf("has %d children, 0 of them negative", len(plan.Parents[0].Children)),
		"(s_id proc)", "reclaimable", "since 4.11", "drop_caches",
	} {
		if !strings.Contains(said, part) {
			t.Errorf("%q is not in what is said: %s", part, said)
		}
	}
}

// checkChurn: who makes the namespaces, and how many, as the log and the tasks tell.
func checkChurn(t *testing.T, plan *synthetic.Case1, r *dcache.Report) {
	t.Helper()
	for _, f := range r.Findings {
		for _, e := range f.Evidence {
			if e.Command == "" {
				t.Errorf("%s: nothing prints again that %s", f.ID, e.Fact)
			}
		}
		if f.ID != "dcache.netns-churn" {
			continue
		}
		if f.Confidence != finding.Suspected || f.Method == "" || f.Severity != finding.Warning {
			t.Errorf("%+v", f)
		}
		said := fmt.Sprint(f)
		for _, part := range []string{"700 dockerd", "702 containerd", "31001 runc:[1:CHILD]", "31002 exe", "30.0 a minute",
			fmt.Sprintf("from %d to %d", plan.Dead, plan.Dead+synthetic.CreatedLogged-1),
			fmt.Sprintf("%d lines of the log tell of a new network namespace", synthetic.CreatedLogged)} {
			if !strings.Contains(said, part) {
				t.Errorf("%q is not in what is said: %s", part, said)
			}
		}
		if strings.Contains(said, "nginx") || strings.Contains(said, "snmpd") {
			t.Errorf("tasks that make nothing are suspected: %s", said)
		}
		return
	}
	t.Errorf("nothing says who makes the namespaces: %+v", r.Churn)
}

// groupOf is what the report has of the dentries of a name.
func groupOf(r *dcache.Report, name string) *dcache.Group {
	for _, c := range r.Chains {
		for i := range c.Groups {
			if c.Groups[i].Name == name && c.Groups[i].Dentries.Total > 1 {
				return &c.Groups[i]
			}
		}
	}
	return nil
}

func checkCase1Chain(t *testing.T, plan *synthetic.Case1, i int, g *dcache.Group) {
	t.Helper()
	entries := plan.Entries[i]
	if g.Dentries.Total != uint64(len(entries)) || g.Path != plan.Path(plan.Parents[i]) || uint64(g.Parent) != plan.Parents[i].Addr ||
		uint64(g.SuperBlock) != plan.Proc.Addr || g.SuperID != "proc" {
		t.Errorf("%d entries of %s/%s in %s, planned %d", g.Dentries.Total, g.Path, g.Name, g.SuperID, len(entries))
	}
	chain := plan.Chains()[entries[0].Bucket]
	depth := 0
	for chain[depth] != entries[0] {
		depth++
	}
	living := 1 + len(plan.Busy) + len(plan.Idle)
	if o := g.Owners; o == nil || o.Dead != plan.Dead || o.Init != 1 || o.WithTasks != len(plan.Busy) || o.WithoutTasks != len(plan.Idle) ||
		o.Sets != living || *o.InitDepth != depth || *o.InitCompares != depth+1 || o.Dying+o.Stale+o.Other+o.Unreadable != 0 {
		t.Errorf("owners of %s: %+v; init_net's entry is at %d", g.Name, o, depth)
	}
	if plan.Leaves[i] == "" { // the entries themselves are what is on the LRU
		if g.Pins != nil || g.Dentries.OnLRU != g.Dentries.Total {
			t.Errorf("pins of %s: %+v", g.Name, g.Pins)
		}
		return
	}
	if g.Pins == nil || g.Pins.Directories != len(entries) || len(g.Pins.Leaves) != 1 {
		t.Fatalf("pins of %s: %+v", g.Name, g.Pins)
	}
	if leaf := g.Pins.Leaves[0]; leaf.Path != plan.Leaves[i] || leaf.Count != len(entries) || leaf.Reclaimable != len(entries) || leaf.Held != 0 {
		t.Errorf("pins of %s: %+v", g.Name, leaf)
	}
}
