package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/slab"
	kslab "github.com/kmortem/mortem/kernel/slab"
)

func (a *app) slabKindsCommand() *cobra.Command {
	var opt slab.KindOptions
	c := &cobra.Command{
		Use:   "kinds [flags] DUMP... CACHE",
		Short: "Say what the live objects of a slab cache look like",
		Long: "kinds classifies the live objects of a cache by their content, for caches that several kinds of\n" +
			"objects share: merged ones, and those of kmalloc. Types whose size fits are held against each\n" +
			"object: lists whose neighbours point back, pointers to functions, to operation tables and to\n" +
			"objects of other caches. Objects that no type fits are told apart by what they point to and by\n" +
			"numbers that many of them have. All of this is inferred, no record of the kernel says it.\n\n" +
			"Of each kind it prints the commonest values of reference counts, and how many of the objects\n" +
			"are in a list.",
		Example: "  mortem slab kinds --vmlinux vmlinux vmcore pool_workqueue\n" +
			"  mortem slab kinds --vmlinux vmlinux --limit 1000000 vmcore kmalloc-192",
		Args: atLeast(2, "the dump or the cache"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withCache(args, func(caches *kslab.Allocations, cache *kslab.Cache) error {
				r, err := slab.Kinds(c.Context(), caches, cache, opt)
				if err != nil {
					return slabError(err)
				}
				return a.answer(r, &r.Coverage, func(w *printer) { printKinds(w, r) })
			})
		},
	}
	mostFlag(c.Flags(), &opt.Limit, "limit", 100_000, "look at about so many objects, spread over all slabs")
	a.kernelFlags(c.Flags())
	return c
}

func printKinds(w *printer, r *slab.KindReport) {
	w.line("%s: %d live objects, %d looked at; %d types have a fitting size", r.Cache, r.Live, r.Examined, r.Candidates)
	w.line("inferred: %s", r.Method)
	for i := range r.Kinds {
		k := &r.Kinds[i]
		name := strings.Join(k.Types, " or ")
		if name == "" {
			name = "unknown"
		}
		w.line("")
		w.line("%8d  %5.1f%%  %s, such as %s", k.Count, 100*k.Share, name, k.Samples[0])
		for _, c := range k.Counts {
			w.line("            %s is %d in %.0f%%", c.Member, c.Value, 100*c.Share)
		}
		var out []string
		for _, l := range k.Lists {
			if l.Linked == 0 {
				out = append(out, l.Member)
				continue
			}
			w.line("            %s: %.0f%% are in a list", l.Member, 100*l.Linked)
		}
		if len(out) > 0 {
			w.line("            in no list by %s", strings.Join(out, ", "))
		}
		for _, m := range k.Marks {
			w.line("            %s", fmt.Sprint("all have ", m))
		}
	}
}
