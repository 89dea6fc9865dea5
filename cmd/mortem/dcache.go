package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/dcache"
)

func (a *app) dcacheCommand() *cobra.Command {
	var opt dcache.Options
	c := &cobra.Command{
		Use:   "dcache [flags] DUMP...",
		Short: "Measure the chains of dentry_hashtable and tell whose the long ones are",
		Long: "dcache walks every bucket of the dentry hash table: how long the chains are beside what\n" +
			"a random hash would give, what the longest ones hold, and for entries of /proc/sys which\n" +
			"ctl_table_set and network namespace each one belongs to, whether that is alive, and how\n" +
			"many entries a lookup from init_net has to pass.",
		Example: "  mortem dcache --vmlinux vmlinux vmcore\n" +
			"  mortem dcache --vmlinux vmlinux --top 3 --entries 20 vmcore\n" +
			"  mortem dcache --vmlinux vmlinux --max-length 1000 --fail-on warning vmcore\n" +
			"  mortem dcache --vmlinux vmlinux --json vmcore.1 vmcore.2 | jq '.chains[0].groups[0].owners'",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error { return a.dcache(c, args, opt) },
	}
	mostFlag(c.Flags(), &opt.Top, "top", 10, "describe this many of the longest chains")
	listedFlag(c.Flags(), &opt.Entries, "entries", 5, "list this many entries of each name in a chain")
	c.Flags().IntVar(&opt.MinLength, "min-length", 2, "describe no shorter chain")
	c.Flags().IntVar(&opt.MaxLength, "max-length", 0, "raise an alarm, a warning, where a chain is longer; 0 for never")
	a.kernelFlags(c.Flags())
	a.findingFlags(c.Flags())
	return c
}

func (a *app) dcache(c *cobra.Command, args []string, opt dcache.Options) error {
	switch {
	case opt.MinLength < 1:
		return usage("--min-length takes numbers from 1 on")
	case opt.MaxLength < 0:
		return usage("--max-length takes a number, or 0 for no alarm")
	}
	return a.withKernel(args, func(s *session) error {
		progress := a.progress("walking dentry_hashtable")
		opt.Progress = progress.update
		r, err := dcache.Analyze(c.Context(), s.fs, opt)
		progress.done()
		if err != nil {
			return unusable(err)
		}
		return a.answerFindings(r, &r.Coverage, r.Findings, func(w *printer) { printDcache(w, r) })
	})
}

func printDcache(w *printer, r *dcache.Report) {
	t := &r.Table
	w.line("dentry_hashtable at %s: %d buckets, %d used; %s", t.Addr, t.Buckets, t.Used, t.Index)
	w.line("dentries hashed: %d, of these negative %d, unused %d, on the LRU %d",
		r.Dentries.Total, r.Dentries.Negative, r.Dentries.Unused, r.Dentries.OnLRU)
	w.line("longest chain: %d; a random hash gives at most %d; chains longer than that: %d", t.Longest, t.ExpectedLongest, r.Long)
	w.line("")
	w.table(func(w *printer) {
		w.line("LENGTH\tBUCKETS\tRANDOM HASH\tDENTRIES")
		for _, b := range r.Histogram {
			if b.Buckets != 0 || b.Expected >= 0.05 {
				w.line("%s\t%d\t%.1f\t%d", lengthRange(b.From, b.To), b.Buckets, b.Expected, b.Dentries)
			}
		}
	})
	if c := r.Churn; c != nil {
		w.line("")
		w.line("network namespaces in the log: %d lines of new ones, %d of veth devices; tasks that may make them: %d", c.Created, c.Veth, len(c.Tasks)+c.More)
	}
	for i := range r.Chains {
		printChain(w, &r.Chains[i])
	}
	w.findings(r.Findings)
}

func lengthRange(from, to int) string {
	if from == to {
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d-%d", from, to)
}

func printChain(w *printer, c *dcache.Chain) {
	w.line("")
	w.line("BUCKET %d at %s: %d dentries, negative %d, unused %d, on the LRU %d",
		c.Bucket, c.Addr, c.Length, c.Dentries.Negative, c.Dentries.Unused, c.Dentries.OnLRU)
	if c.Broken != "" {
		w.line("  the chain breaks, so that these are lower bounds: %s", c.Broken)
	}
	for i := range c.Groups {
		printGroup(w, &c.Groups[i])
	}
	if c.MoreGroups != 0 {
		w.line("  and %d dentries of further names", c.MoreGroups)
	}
}

func printGroup(w *printer, g *dcache.Group) {
	w.line("  %d × %s in %s (%s %s): negative %d, unused %d, on the LRU %d",
		g.Dentries.Total, g.Name, g.Path, g.FileSystem, g.SuperID, g.Dentries.Negative, g.Dentries.Unused, g.Dentries.OnLRU)
	if c := g.Children; c != nil {
		w.line("    the parent has %d children, negative %d", c.Total, c.Negative)
	}
	if g.Owners != nil {
		printOwners(w, g.Owners)
	}
	if g.Pins != nil {
		for i := range g.Pins.Leaves {
			l := &g.Pins.Leaves[i]
			w.line("    kept by %s: %s below the %d looked into; reclaimable %d, in use %d", l.Path, g.Pins.Times(l), g.Pins.Sampled, l.Reclaimable, l.Held)
		}
	}
	if len(g.Entries) > 0 && (len(g.Entries) > 1 || g.Owners != nil) {
		printEntries(w, g)
	}
}

func printOwners(w *printer, o *dcache.Owners) {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{o.Init, "init_net"}, {o.WithTasks, "living with tasks"}, {o.WithoutTasks, "living without a task"},
		{o.Dying, "dying"}, {o.Dead, "dead"}, {o.Stale, "stale"}, {o.Other, "not a network namespace's"}, {o.Unreadable, "unreadable"},
	} {
		if p.n != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	more := ""
	if o.SetsAtLeast {
		more = " or more"
	}
	w.line("    owners: %d%s ctl_table_sets: %s", o.Sets, more, strings.Join(parts, ", "))
	if o.InitDepth != nil {
		w.line("    init_net's own entry has %d before it: a lookup from init_net compares %d", *o.InitDepth, *o.InitCompares)
	}
}

func printEntries(w *printer, g *dcache.Group) {
	w.table(func(w *printer) {
		w.line("    #\tDENTRY\tCOUNT\tLRU\tOWNER\tCTL_TABLE_SET\tNET\tINUM\tTASKS")
		for _, e := range g.Entries {
			lru := "-"
			if e.OnLRU {
				lru = "yes"
			}
			owner := e.Owner
			if owner == "" {
				owner = "-"
			}
			if e.Set == 0 {
				w.line("    %d\t%s\t%d\t%s\t%s", e.Index, e.Addr, e.Count, lru, owner)
				continue
			}
			w.line("    %d\t%s\t%d\t%s\t%s\t%s\t%s\t%d\t%s", e.Index, e.Addr, e.Count, lru, owner, e.Set, e.Net, e.NetInum, members(&e))
		}
	})
	if n := int(g.Dentries.Total) - len(g.Entries); n > 0 {
		w.line("    … and %d more (--entries -1 lists all)", n)
	}
}

// members are the threads in the owner's network namespace, by number and the
// first few by name.
func members(e *dcache.Entry) string {
	if e.Tasks == 0 {
		return "0"
	}
	var names []string
	for _, m := range e.Members {
		names = append(names, fmt.Sprintf("%d %s", m.PID, m.Comm))
	}
	if e.Tasks > len(names) {
		names = append(names, "…")
	}
	return fmt.Sprintf("%d (%s)", e.Tasks, strings.Join(names, ", "))
}
