package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/info"
	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/printk"
	kslab "github.com/kmortem/mortem/kernel/slab"
)

func (a *app) slabTracksCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "tracks [flags] DUMP... CACHE",
		Short: "Say who took the live objects of a slab cache, by SLUB's records",
		Long: "tracks adds up the live objects of a cache by the stack that took them, and the free ones by the\n" +
			"stack that freed them, with tasks, processors and ages. The kernel keeps such records with\n" +
			"slub_debug=U, or slub_debug=U,CACHE, on its command line. Ages are in jiffies, as the\n" +
			"kernel's own alloc_traces has them.",
		Example: "  mortem slab tracks --vmlinux vmlinux vmcore kmalloc-64",
		Args:    atLeast(2, "the dump or the cache"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withCache(args, func(caches *kslab.Allocations, cache *kslab.Cache) error {
				r, err := slab.Tracks(c.Context(), caches, cache)
				if err != nil {
					return slabError(err)
				}
				return a.answer(r, &r.Coverage, func(w *printer) { printTracks(w, r) })
			})
		},
	}
	a.kernelFlags(c.Flags())
	return c
}

func printTracks(w *printer, r *slab.TrackReport) {
	w.line("%s: %d live objects, by who took them", r.Cache, r.Live)
	printSites(w, r.Allocs)
	w.line("")
	w.line("%s: %d free objects, by who freed them last", r.Cache, r.Free)
	printSites(w, r.Frees)
}

func printSites(w *printer, sites []slab.Site) {
	for i := range sites {
		s := &sites[i]
		name := s.Function
		if name == "" {
			w.line("%8d  no record, such as %s", s.Count, s.Sample)
			continue
		}
		var tasks []string
		for _, t := range s.Tasks[:min(len(s.Tasks), 4)] {
			tasks = append(tasks, strings.TrimSpace(fmt.Sprintf("%d %s", t.PID, t.Comm)))
		}
		if len(s.Tasks) > 4 {
			tasks = append(tasks, fmt.Sprintf("%d more", len(s.Tasks)-4))
		}
		w.line("%8d  %s  age=%d/%d/%d  tasks: %s  cpus: %s  such as %s", s.Count, name, s.MinAge, s.MeanAge, s.MaxAge,
			strings.Join(tasks, ", "), strings.Trim(fmt.Sprint(s.CPUs), "[]"), s.Sample)
		for _, f := range s.Stack {
			w.line("            %s", f)
		}
	}
}

func (a *app) slabTraceCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "trace [flags] DUMP...",
		Short: "Add up what the log traced of slab caches",
		Long: "trace reads from the kernel log the lines TRACE CACHE alloc and free, which the kernel writes after\n" +
			"echo 1 > /sys/kernel/slab/CACHE/trace, and adds them up by cache, task and stack. Allocations\n" +
			"are paired with the frees of the same object that follow; what was not freed is named.",
		Example: "  mortem slab trace vmcore",
		Args:    atLeast(1, "the dump"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withLog(args, func(_ *dump.Facts, log *printk.Log) error {
				r := traceOf(log)
				return a.answer(r, &r.Coverage, func(w *printer) { printTrace(w, r) })
			})
		},
	}
	a.kernelFlags(c.Flags())
	return c
}

// traceOf reads the traces in a log; parts of it that are lost are in the coverage.
func traceOf(log *printk.Log) *slab.TraceReport {
	var failed []error
	r := slab.ReadTrace(func(yield func(string) bool) {
		for rec, err := range log.Records() {
			if err != nil {
				failed = append(failed, err)
				continue
			}
			for line := range rec.Lines() {
				if !yield(line) {
					return
				}
			}
		}
	})
	for _, err := range failed {
		info.Lost(&r.Coverage, err)
	}
	return r
}

func printTrace(w *printer, r *slab.TraceReport) {
	if len(r.Caches) == 0 {
		w.line("the log has no traces of slab caches")
	}
	for i := range r.Caches {
		c := &r.Caches[i]
		w.line("%s: %d allocations, %d frees; %d pairs, %d not freed in the log, %d taken before it", c.Cache, c.Allocs, c.Frees,
			c.Paired, len(c.Unfreed), c.Before)
		for _, s := range c.Sites {
			w.line("%8d  %s by %d %s, %d in pairs", s.Count, s.Event, s.PID, s.Comm, s.Paired)
			for _, f := range s.Stack {
				w.line("            %s", f)
			}
		}
		for _, o := range c.Unfreed[:min(len(c.Unfreed), 10)] {
			w.line("  not freed: %s", o)
		}
	}
}
