package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/hash"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/expr"
	"github.com/kmortem/mortem/kernel/hashtable"
)

// hashFlags are the flags that need more than Options.
type hashFlags struct {
	all, list bool
	bits      uint
}

func (a *app) hashCommand() *cobra.Command {
	var opt hash.Options
	var f hashFlags
	c := &cobra.Command{
		Use:   "hash [flags] DUMP... TABLE...",
		Short: "Measure the chains of any hash table of the kernel",
		Long: "hash walks every chain of a hash table and shows how long they are beside what a random\n" +
			"hash would give. A table is one of those known by name (--list), or a C expression: an\n" +
			"array of heads, a pointer to the first one, a struct rhashtable. What the heads are\n" +
			"(hlist_head, hlist_bl_head, hlist_nulls_head, list_head, rhash_head or a bare pointer,\n" +
			"alone or inside of a structure) is told by their type; how many a pointer leads to is not,\n" +
			"and needs --count or --bits.\n\n" +
			"--all measures every table known by name and ranks them: by how many entries their longest\n" +
			"chain is longer than the longest that a random hash gives.",
		Example: "  mortem hash --vmlinux vmlinux vmcore --all\n" +
			"  mortem hash --vmlinux vmlinux vmcore tcp conntrack\n" +
			"  mortem hash --vmlinux vmlinux vmcore css_set_table\n" +
			"  mortem hash --vmlinux vmlinux vmcore init_net.dev_name_head --count 256\n" +
			"  mortem hash --list",
		RunE: func(c *cobra.Command, args []string) error {
			if f.list {
				return a.print(presetNames(), printPresets)
			}
			return a.hash(c, args, f, opt)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.all, "all", false, "measure all tables that are known by name, and rank them")
	fl.BoolVar(&f.list, "list", false, "list the tables that are known by name; needs no dump")
	fl.BoolVar(&opt.Nets, "all-nets", false, "measure the tables of all network namespaces, not only those of init_net")
	fl.Uint64Var(&opt.Table.Buckets, "count", 0, "a pointer leads to this many buckets")
	fl.Uint64Var(&opt.Table.Buckets, "size", 0, "the same as --count")
	fl.UintVar(&f.bits, "bits", 0, "a pointer leads to 1<<BITS buckets")
	fl.StringVar(&opt.Table.Head, "head", "", "member of a bucket that is the head, where there are several")
	fl.StringVar(&opt.Table.Link, "link", "", "member of an entry that links it to the next, where buckets are bare pointers (default next)")
	fl.StringVar(&opt.Table.Entry, "entry", "", `what the entries are: type and member, such as "struct dentry.d_hash"`)
	mostFlag(fl, &opt.Top, "top", 3, "list this many of the longest chains")
	listedFlag(fl, &opt.Entries, "entries", 4, "list this many entries of a chain")
	a.kernelFlags(fl)
	a.findingFlags(fl)
	return c
}

func (a *app) hash(c *cobra.Command, args []string, f hashFlags, opt hash.Options) error {
	files, names := splitDumps(args)
	switch {
	case len(files) == 0:
		return usage("the dump is missing; see '%s --help'", c.CommandPath())
	case len(names) == 0 && !f.all:
		return usage("the table is missing: give its name (see 'mortem hash --list') or --all")
	case len(names) > 0 && f.all:
		return usage("--all goes with no table's name")
	case f.bits > 31:
		return usage("--bits takes numbers up to 31")
	}
	if f.bits > 0 {
		opt.Table.Buckets = 1 << f.bits
	}
	opt.Names = names
	return a.withKernel(files, func(s *session) error {
		if opt.Table.Entry != "" {
			if err := hashtable.CheckEntry(s.kernel, opt.Table.Entry); err != nil {
				return usage("--entry: %w", err)
			}
		}
		progress := a.progress("walking hash tables")
		opt.Progress = progress.update
		r, err := hash.Analyze(c.Context(), s.kernel, opt)
		progress.done()
		if err != nil {
			if wrongName(err) {
				return usage("%w", err)
			}
			return unusable(err)
		}
		return a.answerFindings(r, &r.Coverage, r.Findings, func(w *printer) { printHash(w, r, f.all) })
	})
}

// wrongName tells whether an error is that of a name that is not in the dump, or
// that stands for no table.
func wrongName(err error) bool {
	var syntax *expr.SyntaxError
	for _, target := range []error{kernel.ErrNotFound, ctype.ErrNoField, hashtable.ErrNoHead, hashtable.ErrCount, hashtable.ErrUnset} {
		if errors.Is(err, target) {
			return true
		}
	}
	return errors.As(err, &syntax)
}

// presetName is a table that is known by name.
type presetName struct {
	Name string `json:"name"`
	What string `json:"what"`
	Gone string `json:"gone,omitempty"`
}

func presetNames() []presetName {
	var list []presetName
	for _, p := range hashtable.Presets() {
		list = append(list, presetName{p.Name, p.What, p.Gone})
	}
	return list
}

func printPresets(w *printer) {
	w.table(func(w *printer) {
		for _, p := range presetNames() {
			what := p.What
			if p.Gone != "" {
				what += " (" + p.Gone + ")"
			}
			w.line("%s\t%s", p.Name, what)
		}
	})
}

func printHash(w *printer, r *hash.Report, all bool) {
	if all {
		rankTables(w, r)
	} else {
		for i := range r.Tables {
			if i > 0 {
				w.line("")
			}
			printHashTable(w, &r.Tables[i])
		}
	}
	w.findings(r.Findings)
}

// rankTables prints a line for each table, the worst first.
func rankTables(w *printer, r *hash.Report) {
	var empty []string
	w.table(func(w *printer) {
		w.line("TABLE\tBUCKETS\tENTRIES\tLONGEST\tRANDOM HASH\tEXCESS\tSTEPS\tRANDOM HASH\tWORST CHAIN")
		for i := range r.Tables {
			t := &r.Tables[i]
			if t.Entries == 0 && t.Broken == 0 {
				empty = append(empty, t.Name)
				continue
			}
			worst := "-"
			if len(t.Chains) > 0 {
				worst = t.Chains[0].Addr.String()
			}
			name := t.Name
			if t.Broken > 0 {
				name += fmt.Sprintf(" (%d chains break)", t.Broken)
			}
			if t.Net != 0 {
				name += fmt.Sprintf(" [net %d]", t.NetInum)
			}
			w.line("%s\t%d\t%d\t%d\t%d\t%.2f\t%.2f\t%.2f\t%s", name, t.Buckets, t.Entries, t.Longest, t.ExpectedLongest, t.Excess, t.Steps, t.ExpectedSteps, worst)
		}
	})
	if len(empty) > 0 {
		w.line("")
		w.line("empty: %s", shorten(empty))
	}
	var names []string
	for _, a := range r.Absent {
		names = append(names, a.Name)
	}
	if len(names) > 0 {
		w.line("")
		w.line("not in this kernel, or not known where: %s (--json says why)", strings.Join(names, ", "))
	}
}

// shorten joins names, and counts those of elements of one array.
func shorten(names []string) string {
	var out []string
	count := map[string]int{}
	for _, name := range names {
		short, _, _ := strings.Cut(name, " ")
		if count[short]++; count[short] == 1 {
			out = append(out, short)
		}
	}
	for i, name := range out {
		if n := count[name]; n > 1 {
			out[i] = fmt.Sprintf("%s (%d)", name, n)
		}
	}
	return strings.Join(out, ", ")
}

func printHashTable(w *printer, t *hash.Table) {
	w.line("%s: %s at %s: %d buckets of %s, %d used, %d entries", t.Name, t.Expr, t.Addr, t.Buckets, t.Kind, t.Used, t.Entries)
	if t.What != "" {
		w.line("%s", t.What)
	}
	if t.Entry != "" {
		w.line("entries are %s", t.Entry)
	}
	if t.Counter != nil {
		w.line("the kernel counts %d entries", *t.Counter)
	}
	w.line("longest chain: %d; a random hash gives at most %d; chains longer than that: %d", t.Longest, t.ExpectedLongest, t.Long)
	w.line("a lookup that finds its entry passes %.2f on the average; under a random hash %.2f", t.Steps, t.ExpectedSteps)
	if t.Broken > 0 {
		w.line("%d chains break, so that these are lower bounds", t.Broken)
	}
	w.line("")
	w.table(func(w *printer) {
		w.line("LENGTH\tBUCKETS\tRANDOM HASH\tENTRIES")
		for _, b := range t.Histogram {
			if b.Buckets != 0 || b.Expected >= 0.05 {
				w.line("%s\t%d\t%.1f\t%d", lengthRange(b.From, b.To), b.Buckets, b.Expected, b.Entries)
			}
		}
	})
	for _, c := range t.Chains {
		var entries []string
		for _, e := range c.Entries {
			entries = append(entries, e.String())
		}
		if len(entries) < c.Length {
			entries = append(entries, "…")
		}
		w.line("BUCKET %d at %s: %d entries: %s", c.Bucket, c.Addr, c.Length, strings.Join(entries, " "))
		if c.Broken != "" {
			w.line("  the chain breaks: %s", c.Broken)
		}
	}
}
