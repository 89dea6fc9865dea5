package dcache

import (
	"fmt"
	"strings"
	"time"

	"github.com/kmortem/mortem/analysis/finding"
)

// Ids of the findings.
const (
	idSameName = "dcache.same-name-chain"
	idSysctl   = "dcache.sysctl-chain"
	idLong     = "dcache.long-chains"
	idChurn    = "dcache.netns-churn"
	idAlarm    = "dcache.chain-over-limit"
)

// A chain of one name is worth a word from four times the length that a random
// hash would reach, is a warning from a hundred entries on, and explains an
// outage at a hundred thousand: case reports of 800,000 entries speak of half a
// second for each lookup.
const (
	suspiciousFactor = 4
	warningLength    = 100
	criticalLength   = 100_000
)

func severity(n uint64) finding.Severity {
	switch {
	case n >= criticalLength:
		return finding.Critical
	case n >= warningLength:
		return finding.Warning
	}
	return finding.Info
}

// longGroup is how many dentries of one name in a chain are worth a word.
func longGroup(r *Report) uint64 {
	return uint64(suspiciousFactor * max(r.Table.ExpectedLongest, 1))
}

// hasDeadOwners tells whether a chain is long for entries of network namespaces
// that are gone or going.
func (r *Report) hasDeadOwners() bool {
	for i := range r.Chains {
		for j := range r.Chains[i].Groups {
			g := &r.Chains[i].Groups[j]
			if g.Owners != nil && g.Owners.Dead+g.Owners.Dying > 0 && g.Dentries.Total >= longGroup(r) {
				return true
			}
		}
	}
	return false
}

// findings draws the conclusions from what the report holds.
func findings(r *Report, opt *Options) []finding.Finding {
	list := []finding.Finding{}
	if opt.MaxLength > 0 && r.Table.Longest > opt.MaxLength {
		list = append(list, overLimit(r, opt.MaxLength))
	}
	limit := longGroup(r)
	explained := uint64(0)
	for i := range r.Chains {
		c := &r.Chains[i]
		for j := range c.Groups {
			g := &c.Groups[j]
			if g.Dentries.Total < limit {
				continue
			}
			if j == 0 {
				explained++
			}
			if g.Owners != nil {
				list = append(list, sysctlChain(r, c, g))
			} else {
				list = append(list, sameName(r, c, g))
			}
		}
	}
	if r.Churn != nil && r.Churn.shown() {
		list = append(list, churn(r.Churn, finding.Worst(list)))
	}
	if r.Long > explained && explained < uint64(len(r.Chains)) {
		list = append(list, manyLong(r, r.Long-explained))
	}
	return list
}

// where is a group's name with its directory.
func (g *Group) where() string {
	return strings.TrimSuffix(g.Path, "/") + "/" + g.Name
}

func lengthEvidence(r *Report, c *Chain, g *Group) finding.Evidence {
	return finding.Evidence{
		Fact: fmt.Sprintf("bucket %d at %s holds %d dentries, %d of them named %s with the parent %s at %s, in super_block %s (s_id %s, %s); "+
			"a random hash of %d dentries in %d buckets gives at most %d",
			c.Bucket, c.Addr, c.Length, g.Dentries.Total, g.Name, g.Path, g.Parent, g.SuperBlock, g.SuperID, g.FileSystem,
			r.Dentries.Total, r.Table.Buckets, r.Table.ExpectedLongest),
		Command: fmt.Sprintf("dcache --min-length %d --entries -1", c.Length),
	}
}

// childrenEvidence says how many dentries the parent has altogether.
func childrenEvidence(c *Chain, g *Group) []finding.Evidence {
	if g.Children == nil {
		return nil
	}
	atLeast := ""
	if g.Children.AtLeast {
		atLeast = "at least "
	}
	return []finding.Evidence{{
		Fact:    fmt.Sprintf("the parent %s at %s has %s%d children, %d of them negative", g.Path, g.Parent, atLeast, g.Children.Total, g.Children.Negative),
		Command: fmt.Sprintf("dcache --min-length %d", c.Length),
	}}
}

// sysctlChain is case 1: one name of /proc/sys for many network namespaces.
func sysctlChain(r *Report, c *Chain, g *Group) finding.Finding {
	o := g.Owners
	f := finding.Finding{
		ID:         idSysctl,
		Severity:   severity(g.Dentries.Total),
		Confidence: finding.Certain,
		Evidence:   []finding.Evidence{lengthEvidence(r, c, g)},
	}
	f.Statement = fmt.Sprintf("%d entries of %s, of %s, share one hash chain", g.Dentries.Total, g.where(), ownersOf(o))
	if o.InitDepth != nil {
		f.Statement += fmt.Sprintf(": each lookup of it from init_net compares %d dentries", *o.InitCompares)
	}
	f.Evidence = append(f.Evidence, finding.Evidence{
		Fact: fmt.Sprintf("owners: %d ctl_table_sets; entries of init_net %d, of living network namespaces %d with tasks and %d without, "+
			"of dying ones %d, of dead ones %d (ctl_table_header.unregistering is set)",
			o.Sets, o.Init, o.WithTasks, o.WithoutTasks, o.Dying, o.Dead),
		Command: "dcache --entries -1",
	})
	f.Evidence = append(f.Evidence, childrenEvidence(c, g)...)
	if g.Pins == nil && g.Dentries.OnLRU > 0 {
		f.Evidence = append(f.Evidence, finding.Evidence{
			Fact:    fmt.Sprintf("what keeps them: %d of the entries themselves are on the LRU and reclaimable; nothing reclaims them while memory is plentiful", g.Dentries.OnLRU),
			Command: fmt.Sprintf("dcache --min-length %d --entries -1", c.Length),
		})
	}
	if g.Pins != nil && len(g.Pins.Leaves) > 0 {
		leaf := g.Pins.Leaves[0]
		f.Evidence = append(f.Evidence, finding.Evidence{
			Fact: fmt.Sprintf("what keeps them: below %d of %d entries looked into there are dentries; most often %s (%s, %d on the LRU and reclaimable, %d in use)",
				g.Pins.Directories, g.Pins.Sampled, leaf.Path, g.Pins.Times(&leaf), leaf.Reclaimable, leaf.Held),
			Command: fmt.Sprintf("dcache --min-length %d", c.Length),
		})
	}
	f.Advice = sysctlAdvice(g)
	return f
}

// ownersOf counts the owners: those that are told apart by their sets, and the
// dead ones, whose sets say nothing.
func ownersOf(o *Owners) string {
	text := fmt.Sprintf("%d owners", o.Sets)
	if o.SetsAtLeast {
		text = fmt.Sprintf("%d owners or more", o.Sets)
	}
	if o.Dead > 0 {
		text += fmt.Sprintf(" and %d dead ones", o.Dead)
	}
	return text
}

func sysctlAdvice(g *Group) []string {
	o := g.Owners
	var advice []string
	if o.Dead > 0 {
		advice = append(advice, "upgrade to a kernel that drops a sysctl's dentries when it is unregistered (since 4.11)",
			"fix what creates and destroys the namespaces",
			fmt.Sprintf("until then, shrink the dentries of that one super_block (s_id %s), rather than the whole cache with drop_caches", g.SuperID))
	}
	if o.WithoutTasks > 0 {
		advice = append(advice, "find what creates network namespaces and leaves them without a task: they live on by bind mounts or open file descriptors")
	}
	if o.Dying > 0 {
		advice = append(advice, "find what keeps the network namespaces from being taken down: the netns workqueue's cleanup_net handles one batch after the other")
	}
	return append(advice, "have fewer network namespaces at a time on this host, or read the entry less often")
}

// sameName is a long chain of one name outside of /proc/sys: equal names with
// the same parent are duplicates or file systems that compare otherwise.
func sameName(r *Report, c *Chain, g *Group) finding.Finding {
	return finding.Finding{
		ID:         idSameName,
		Severity:   severity(g.Dentries.Total),
		Statement:  fmt.Sprintf("%d dentries of the same name and parent, %s, share one hash chain", g.Dentries.Total, g.where()),
		Confidence: finding.Certain,
		Evidence:   append([]finding.Evidence{lengthEvidence(r, c, g)}, childrenEvidence(c, g)...),
		Advice:     []string{"find out why the file system keeps several dentries of one name: its d_compare or d_revalidate refuses those that are there"},
	}
}

// manyLong says that chains are long without one name being the cause.
func manyLong(r *Report, n uint64) finding.Finding {
	return finding.Finding{
		ID:       idLong,
		Severity: finding.Info,
		Statement: fmt.Sprintf("%d chains are longer than the %d that a random hash of %d dentries in %d buckets gives",
			n, r.Table.ExpectedLongest, r.Dentries.Total, r.Table.Buckets),
		Confidence: finding.Certain,
		Evidence: []finding.Evidence{{
			Fact:    fmt.Sprintf("the longest chain holds %d dentries", r.Table.Longest),
			Command: fmt.Sprintf("dcache --min-length %d --top %d", r.Table.ExpectedLongest+1, r.Long),
		}},
	}
}

// churn says who makes the namespaces that come and go. Its severity is that of
// what follows from them.
func churn(c *Churn, worst finding.Severity) finding.Finding {
	f := finding.Finding{
		ID:         idChurn,
		Severity:   worst,
		Confidence: finding.Suspected,
		Method:     "lines of the kernel log about network namespaces and their devices, and the names of tasks",
		Statement:  "network namespaces are created and destroyed again and again",
		Advice:     []string{"look at the configuration of what makes the namespaces, such as that of the containers' network plugin: something makes and destroys them in a loop"},
	}
	if rate := c.PerMinute(); rate > 0 {
		f.Statement += fmt.Sprintf(": %d within %s, %.1f a minute", c.LastID-c.FirstID, (c.Last - c.First).Round(time.Second), rate)
	}
	if c.Created > 0 {
		fact := fmt.Sprintf("%d lines of the log tell of a new network namespace, the last one: %s", c.Created, c.Example)
		if c.LastID > 0 {
			fact += fmt.Sprintf("; their ids, which count from boot on, go from %d to %d", c.FirstID, c.LastID)
		}
		f.Evidence = append(f.Evidence, finding.Evidence{Fact: fact, Command: "log"})
	}
	if c.Veth > 0 {
		f.Evidence = append(f.Evidence, finding.Evidence{
			Fact: fmt.Sprintf("%d lines of the log are about veth devices, by which containers are connected", c.Veth), Command: "log"})
	}
	if len(c.Tasks) > 0 {
		var names []string
		for _, t := range c.Tasks {
			names = append(names, fmt.Sprintf("%d %s", t.PID, t.Comm))
		}
		if c.More > 0 {
			names = append(names, fmt.Sprintf("and %d more", c.More))
		}
		f.Evidence = append(f.Evidence, finding.Evidence{
			Fact: "processes by the names of programs that make network namespaces: " + strings.Join(names, ", "), Command: "ps"})
	}
	return f
}

// overLimit is the alarm of a chain that is longer than the caller allows.
func overLimit(r *Report, limit int) finding.Finding {
	over := 0
	for _, c := range r.Chains {
		if c.Length > limit {
			over++
		}
	}
	return finding.Finding{
		ID:         idAlarm,
		Severity:   finding.Warning,
		Statement:  fmt.Sprintf("a chain of dentry_hashtable holds %d dentries, more than the limit of %d", r.Table.Longest, limit),
		Confidence: finding.Certain,
		Evidence: []finding.Evidence{{
			Fact:    fmt.Sprintf("of the %d longest chains %d are over the limit; a random hash gives at most %d", len(r.Chains), over, r.Table.ExpectedLongest),
			Command: fmt.Sprintf("dcache --min-length %d", limit+1),
		}},
	}
}
