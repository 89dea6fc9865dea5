package slab

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/zone"
)

// Shares of all memory from which on one cache is worth a finding, and explains an
// outage.
const (
	muchMemory = 0.10
	mostMemory = 0.50
)

// memory is how much the page allocator has, in bytes.
func memory(s *slab.Allocations) uint64 {
	r, err := zone.Open(s.Kernel())
	if err != nil {
		return 0
	}
	nodes, _ := r.Nodes() // what cannot be read mem tells
	pages := uint64(0)
	for _, n := range nodes {
		for _, z := range n.Zones {
			pages += z.Managed
		}
	}
	return pages * s.Kernel().PageSize()
}

// judge states which caches fill the memory, and which are damaged. all are the caches,
// whichever are listed.
func (r *Report) judge(all []Cache) {
	r.Findings = []finding.Finding{}
	for i := range all {
		c := &all[i]
		if r.Memory > 0 && float64(c.Bytes) >= muchMemory*float64(r.Memory) {
			r.Findings = append(r.Findings, r.fills(c))
		}
	}
	if r.Coverage.Corrupt > 0 {
		r.Findings = append(r.Findings, r.damaged())
	}
}

// shownProblems is how many problems a finding about them repeats.
const shownProblems = 3

func (r *Report) damaged() finding.Finding {
	f := finding.Finding{ID: "slab.damaged", Severity: finding.Warning, Confidence: finding.Certain,
		Statement: fmt.Sprintf("%d slabs, lists or caches contradict themselves or lie in damaged pages of the dump: "+
			"memory was overwritten, it changed while it was dumped, or the dump file is damaged", r.Coverage.Corrupt)}
	for _, p := range r.Coverage.Problems[:min(shownProblems, len(r.Coverage.Problems))] {
		f.Evidence = append(f.Evidence, finding.Evidence{Fact: p, Command: "slab --verify"})
	}
	return f
}

func (r *Report) fills(c *Cache) finding.Finding {
	share := float64(c.Bytes) / float64(r.Memory)
	f := finding.Finding{ID: "slab.fills-memory", Severity: finding.Warning, Confidence: finding.Certain,
		Statement: fmt.Sprintf("the slab cache %s fills %.0f %% of memory: %d live objects of %d bytes in %d pages", c.Name, 100*share, c.Live, c.Size, c.Pages),
		Evidence: []finding.Evidence{{Fact: fmt.Sprintf("%d of %d objects are in use, %d bytes of %d", c.Live, c.Objects, c.Bytes, r.Memory),
			Command: "slab " + c.Name}}}
	if share >= mostMemory {
		f.Severity = finding.Critical
	}
	if c.Users > 1 || len(c.Aliases) > 0 {
		f.Evidence = append(f.Evidence, finding.Evidence{Fact: fmt.Sprintf("it is shared by %d caches, %s among them: its name says little",
			max(c.Users, len(c.Aliases)+1), strings.Join(append([]string{c.Name}, c.Aliases...), ", ")), Command: "slab kinds " + c.Name})
		f.Advice = append(f.Advice, "slab kinds tells by their content what the objects are; with slab_nomerge on the kernel's command line caches stay apart")
	}
	if c.Live*2 < c.Objects {
		f.Advice = append(f.Advice, "less than half of the objects are in use: the slabs are fragmented, and freeing more objects gives little memory back")
	} else if !strings.Contains(strings.Join(c.Flags, " "), string(slab.FlagReclaim)) {
		f.Advice = append(f.Advice, "its objects are not reclaimable: with slub_debug=U,"+c.Name+" the kernel records who takes them, and slab tracks adds that up")
	}
	return f
}
