package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/census"
)

func (a *app) inodesCommand() *cobra.Command {
	var opt census.Options
	c := &cobra.Command{
		Use:   "inodes [flags] DUMP...",
		Short: "Count all inodes by state, file system and memory cgroup, and name who holds deleted files",
		Long: "inodes sweeps the slabs that hold inodes, of all file systems, and counts them by super_block,\n" +
			"memory cgroup and state: in use, unused, being freed, dirty, hashed, with the pages that are cached of them.\n" +
			"Of files that are deleted and still in use it says who uses them: by an open file, as\n" +
			"current directory, as program, or mapped. Where the slabs cannot be read it walks the\n" +
			"super_blocks' lists.",
		Example: "  mortem inodes --vmlinux vmlinux vmcore\n" +
			"  mortem inodes --vmlinux vmlinux --json vmcore | jq '.deleted_in_use[] | .path, .holders'",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withKernel(args, func(s *session) error {
				progress := a.progress("counting inodes")
				opt.Progress = func(done, total uint64) { progress.updateBytes(int64(done), int64(total)) }
				r, err := census.Inodes(c.Context(), s.fs, opt)
				progress.done()
				if err != nil {
					return unusable(err)
				}
				if r.WhyLists != "" {
					a.warn("the slabs of inodes cannot be read (%s): what is counted is what the super_blocks list", r.WhyLists)
				}
				return a.answerFindings(r, &r.Coverage, r.Findings, func(w *printer) { printInodes(w, r) })
			})
		},
	}
	mostFlag(c.Flags(), &opt.Held, "held", 1000, "show this many files that are deleted and in use")
	a.kernelFlags(c.Flags())
	a.findingFlags(c.Flags())
	return c
}

func printInodes(w *printer, r *census.InodeReport) {
	n := &r.Inodes
	w.line("%d inodes: %d in use, %d unused (%d on an LRU), %d being freed; %d dirty, %d deleted and in use", n.Total, n.InUse, n.Unused,
		n.OnLRU, n.Freeing, n.Dirty, n.Deleted)
	for _, c := range r.Caches {
		w.line("cache %s at %s: %d of %d objects live, %s", c.Name, c.Addr, c.Live, c.Objects, byteSize(c.Bytes))
	}
	if r.Strange > 0 {
		w.line("%d objects of these caches are no inodes of a listed super_block", r.Strange)
	}
	printCounters(w, r.Counters)
	w.line("")
	w.table(func(w *printer) {
		w.line("SUPER_BLOCK\tTYPE\tS_ID\tINODES\tIN USE\tUNUSED\tON LRU\tFREEING\tDIRTY\tDELETED\tHASHED\tCACHED PAGES\tMOUNTED ON")
		for i := range r.Supers {
			s := &r.Supers[i]
			w.line("%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s", s.Addr, s.Type, s.ID, s.Total, s.InUse, s.Unused, s.OnLRU,
				s.Freeing, s.Dirty, s.Deleted, s.Hashed, s.Pages, orDash(strings.Join(s.Mounts, ", ")))
		}
	})
	printInodeMemcgs(w, r)
	printHeld(w, "DELETED AND IN USE", r.Deleted, r.MoreDeleted)
	w.findings(r.Findings)
}

func printInodeMemcgs(w *printer, r *census.InodeReport) {
	if len(r.Memcgs) > 0 {
		w.line("")
		w.table(func(w *printer) {
			w.line("MEMORY CGROUP\tKMEMCG_ID\tINODES\tMEMORY")
			for _, m := range r.Memcgs {
				w.line("%s\t%d\t%d\t%s", orDash(m.Path), m.ID, m.Inodes, byteSize(m.Bytes))
			}
		})
	}
	printUncharged(w, "inodes are not", "inodes", r.WhyNotCharged, r.UnknownCharged)
}
