package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/slab"
	kslab "github.com/kmortem/mortem/kernel/slab"
)

func (a *app) slabCommand() *cobra.Command {
	var opt slab.Options
	c := &cobra.Command{
		Use:   "slab [flags] DUMP... [CACHE]...",
		Short: "Say what fills the slab caches",
		Long: "slab lists the slab caches with their objects, slabs and memory. What follows the first dump\n" +
			"and is no file is taken for a cache, by name, by an alias, or by the address of its struct\n" +
			"kmem_cache; of a cache that is named it prints as well where its slabs are, what processors\n" +
			"keep, which other caches were merged into it, and what points to it.\n\n" +
			"Live objects come from the counters of the slabs, less what processors and nodes keep for\n" +
			"themselves. With --verify the list of free objects of every slab is followed instead, which\n" +
			"reads all of them and finds damaged ones.",
		Example: "  mortem slab --vmlinux vmlinux vmcore --top 10\n" +
			"  mortem slab --vmlinux vmlinux vmcore --sort live\n" +
			"  mortem slab --vmlinux vmlinux --references vmcore pool_workqueue\n" +
			"  mortem slab objects --vmlinux vmlinux vmcore dentry",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkSort(opt.Sort, slab.Sorts()); err != nil {
				return err
			}
			files, names := splitDumps(args)
			opt.Caches = names
			return a.slab(c, files, opt)
		},
	}
	fl := c.Flags()
	fl.StringVar(&opt.Sort, "sort", "memory", "sort by "+strings.Join(slab.Sorts(), ", ")+" (free: memory of objects not in use)")
	mostFlag(fl, &opt.Top, "top", 0, "list only so many caches")
	fl.BoolVar(&opt.Verify, "verify", false, "follow the list of free objects of every slab")
	fl.BoolVar(&opt.References, "references", false, "look through the objects of all slabs for pointers to the caches")
	a.kernelFlags(fl)
	a.findingFlags(fl)
	c.AddCommand(a.slabObjectsCommand(), a.slabTracksCommand(), a.slabTraceCommand(), a.slabKindsCommand())
	return c
}

// slabError is the exit status of an error about slab caches.
func slabError(err error) error {
	if errors.Is(err, kslab.ErrNoCache) || errors.Is(err, kslab.ErrNoTracks) {
		return &exitError{exitUsage, err}
	}
	return unusable(err)
}

// withCache is withKernel for a command line that ends with the name of a slab cache.
func (a *app) withCache(args []string, ask func(caches *kslab.Allocations, cache *kslab.Cache) error) error {
	files, name := args[:len(args)-1], args[len(args)-1]
	return a.withKernel(files, func(s *session) error {
		caches, err := slab.Open(s.kernel)
		if err != nil {
			return slabError(err)
		}
		cache, err := slab.Find(caches, name)
		if err != nil {
			return slabError(err)
		}
		return ask(caches, cache)
	})
}

func (a *app) slab(c *cobra.Command, files []string, opt slab.Options) error {
	return a.withKernel(files, func(s *session) error {
		caches, err := slab.Open(s.kernel)
		if err != nil {
			return slabError(err)
		}
		progress := a.progress("slabs")
		opt.Progress = func(done, total uint64) { progress.update(int(done), int(total)) }
		r, err := slab.Analyze(c.Context(), caches, opt)
		progress.done()
		if err != nil {
			if errors.Is(err, kslab.ErrNoCache) {
				return usage("%w (%s: no file, and so taken for caches)", err, strings.Join(opt.Caches, " "))
			}
			return slabError(err)
		}
		return a.answerFindings(r, &r.Coverage, r.Findings, func(w *printer) {
			printSlab(w, r)
			if len(opt.Caches) > 0 {
				for i := range r.Caches {
					printCache(w, &r.Caches[i])
				}
			}
			w.findings(r.Findings)
		})
	})
}

func printSlab(w *printer, r *slab.Report) {
	w.line("%s: %d caches, %s in %d slabs; %d live objects of %d", r.Allocator, r.CachesAll, byteSize(r.Bytes), r.Slabs, r.Live, r.Objects)
	if r.Orphans > 0 {
		w.line("%d slabs lead to no known cache", r.Orphans)
	}
	w.line("")
	w.table(func(w *printer) {
		w.line("KMEM_CACHE\tOBJSIZE\tSIZE\tLIVE\tTOTAL\tKEPT\tSLABS\tPAGES\tMEMORY\tOF SLAB\tNAME")
		for i := range r.Caches {
			c := &r.Caches[i]
			share := 0.0
			if r.Bytes > 0 {
				share = 100 * float64(c.Bytes) / float64(r.Bytes)
			}
			w.line("%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%.1f%%\t%s", c.Addr, c.ObjectSize, c.Size, c.Live, c.Objects, c.Kept,
				c.Slabs, c.Pages, byteSize(c.Bytes), share, cacheName(c))
		}
	})
}

// shownAliases is how many other names of a cache a line has.
const shownAliases = 3

func cacheName(c *slab.Cache) string {
	name := c.Name
	if n := len(c.Aliases); n > shownAliases {
		name += fmt.Sprintf(" (also %s, and %d more)", strings.Join(c.Aliases[:shownAliases], ", "), n-shownAliases)
	} else if n > 0 {
		name += " (also " + strings.Join(c.Aliases, ", ") + ")"
	}
	if c.Damaged > 0 {
		name += fmt.Sprintf(" [%d damaged slabs]", c.Damaged)
	}
	return name
}

func printCache(w *printer, c *slab.Cache) {
	w.line("")
	w.line("%s %s: slabs of %d objects in %d pages, flags %s", c.Addr, c.Name, c.PerSlab, 1<<c.Order, orNone(c.Flags))
	if c.Ctor != "" {
		w.line("  constructor %s", c.Ctor)
	}
	if len(c.Aliases) > 0 || c.Users > 1 {
		w.line("  shared by %d caches; other names: %s", c.Users, orNone(c.Aliases))
	}
	for _, n := range c.Nodes {
		w.line("  node %d: %d slabs, %d with room; %d of %d objects in use or kept", n.Node, n.Slabs, n.Partial, n.InUse, n.Objects)
	}
	for _, cpu := range c.CPUs {
		w.line("  CPU %d: keeps %d free objects; %d partly used slabs besides its own", cpu.CPU, cpu.Free, cpu.Partial)
	}
	for _, f := range c.References {
		if f.Symbol != "" {
			w.line("  pointed to by %s at %s", f.Symbol, f.Addr)
		} else {
			w.line("  pointed to by %d live objects of %s, such as at %s", f.Count, f.Object, f.Addr)
		}
	}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func (a *app) slabObjectsCommand() *cobra.Command {
	var opt slab.ObjectOptions
	c := &cobra.Command{
		Use:   "objects [flags] DUMP... CACHE",
		Short: "List the objects of a slab cache",
		Long: "objects lists the addresses of a cache's live objects, in the order of physical memory. The\n" +
			"cache is given by name, by an alias, or by the address of its struct kmem_cache.",
		Example: "  mortem slab objects --vmlinux vmlinux vmcore dentry\n" +
			"  mortem slab objects --vmlinux vmlinux --free --limit 10 vmcore kmalloc-64",
		Args: atLeast(2, "the dump or the cache"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withCache(args, func(caches *kslab.Allocations, cache *kslab.Cache) error {
				r, err := slab.ListObjects(c.Context(), caches, cache, opt)
				if err != nil {
					return slabError(err)
				}
				return a.answer(r, &r.Coverage, func(w *printer) {
					for _, o := range r.Objects {
						w.line("%s", o.Addr)
					}
					if r.More {
						a.warn("there are more; --limit %d ended the list", opt.Limit)
					}
				})
			})
		},
	}
	c.Flags().BoolVar(&opt.Free, "free", false, "list the free objects instead")
	mostFlag(c.Flags(), &opt.Limit, "limit", 1<<20, "list no more than so many")
	a.kernelFlags(c.Flags())
	return c
}
