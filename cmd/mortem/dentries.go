package main

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/analysis/dentry"
	"github.com/kmortem/mortem/kernel/vfs"
)

// censusFlags are the flags that need more than Options.
type censusFlags struct{ dir, super string }

func (a *app) dentriesCommand() *cobra.Command {
	var opt census.Options
	var f censusFlags
	c := &cobra.Command{
		Use:   "dentries [flags] DUMP...",
		Short: "Count all dentries by state, file system, memory cgroup, directory and pattern of name",
		Long: "dentries sweeps the slabs that hold dentries, once, and counts them: by state (in use,\n" +
			"unused on the LRU, negative, deleted but held, being freed), by super_block and type of\n" +
			"file system, by memory cgroup, by directory, and by pattern of name, where numbers,\n" +
			"hashes, UUIDs and what is random stand for each other: .<n>_dOeSnotExist_.db. It compares\n" +
			"with the kernel's own counters and with the LRU lists, and names who holds what is deleted.\n\n" +
			"Where the slabs cannot be read it walks the hash chains, which lack the unhashed ones, and\n" +
			"says so. Memory is bounded: of millions of directories and patterns the largest are counted,\n" +
			"with a bound on the error.",
		Example: "  mortem dentries --vmlinux vmlinux vmcore\n" +
			"  mortem dentries --vmlinux vmlinux --dir /etc/pki/nssdb vmcore\n" +
			"  mortem dentries --vmlinux vmlinux --sb proc vmcore\n" +
			"  mortem dentries --vmlinux vmlinux --pattern '.<n>_dOeSnotExist_.db' --json vmcore",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error { return a.dentries(c, args, f, opt) },
	}
	fl := c.Flags()
	fl.StringVar(&f.dir, "dir", "", "count only the children of this directory, by path or by the address of its dentry")
	fl.StringVar(&f.super, "sb", "", "count only dentries of this super_block, by address, s_id or mountpoint")
	fl.StringVar(&opt.Pattern, "pattern", "", "count only names of this pattern, as it is printed, or that match this shell pattern")
	mostFlag(fl, &opt.Top, "top", 20, "show this many directories and patterns")
	mostFlag(fl, &opt.Held, "held", 1000, "show this many objects that are deleted and held")
	fl.IntVar(&opt.Walk, "walk-lru", 1_000_000, "walk LRU lists of up to so many dentries in all; 0 for all, -1 for none")
	fl.BoolVar(&opt.Chains, "by-chains", false, "go by the hash chains and not by the slabs")
	a.kernelFlags(fl)
	a.findingFlags(fl)
	return c
}

func (a *app) dentries(c *cobra.Command, args []string, f censusFlags, opt census.Options) error {
	switch {
	case opt.Walk < -1:
		return usage("--walk-lru takes a number, 0 for all or -1 for none")
	case opt.Walk == 0:
		opt.Walk = math.MaxInt
	}
	if _, err := path.Match(opt.Pattern, ""); err != nil {
		return usage("--pattern: %w", err)
	}
	return a.withKernel(args, func(s *session) error {
		var err error
		if opt.Dir, err = findDir(s.fs, f.dir); err != nil {
			return err
		}
		if opt.Super, err = findSuper(s.fs, f.super); err != nil {
			return err
		}
		progress := a.progress("counting dentries")
		opt.Progress = func(done, total uint64) { progress.updateBytes(int64(done), int64(total)) }
		r, err := census.Dentries(c.Context(), s.fs, opt)
		progress.done()
		if err != nil {
			return unusable(err)
		}
		r.Filter = filterText(f, opt)
		if r.WhyChains != "" && !opt.Chains {
			a.warn("the slabs of dentries cannot be read (%s): what is counted is what the hash chains hold", r.WhyChains)
		}
		return a.answerFindings(r, &r.Coverage, r.Findings, func(w *printer) { printDentries(w, r) })
	})
}

func filterText(f censusFlags, opt census.Options) string {
	var parts []string
	for _, p := range []struct{ what, value string }{{"directory", f.dir}, {"super_block", f.super}, {"pattern", opt.Pattern}} {
		if p.value != "" {
			parts = append(parts, p.what+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

func findDir(fs *vfs.FS, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	d, err := dentry.Find(fs, text)
	if err != nil {
		return 0, usage("--dir: %w", err)
	}
	return d.Addr, nil
}

// findSuper finds a super_block by its address, its s_id or where it is mounted.
func findSuper(fs *vfs.FS, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	addr, _ := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
	found := uint64(0)
	for sb, err := range fs.SuperBlocks() {
		if err != nil {
			continue // the command's answer tells it
		}
		named := sb.ID == text || strings.HasPrefix(text, "/") && mountedAt(fs, sb, text)
		switch {
		case sb.Addr == addr:
			return addr, nil
		case named && found != 0:
			return 0, usage("--sb: several super_blocks are called %s: give an address (see 'mortem supers')", text)
		case named:
			found = sb.Addr
		}
	}
	if found == 0 {
		return 0, usage("--sb: %w", errors.New("no super_block has the address, s_id or mountpoint "+text))
	}
	return found, nil
}

func mountedAt(fs *vfs.FS, sb *vfs.SuperBlock, at string) bool {
	mounts := fs.Mounts()
	for _, m := range mounts.Of(sb.Addr) {
		if path, err := mounts.PathOfMount(m); err == nil && path == at && m.Namespace == mounts.InitNamespace() {
			return true
		}
	}
	return false
}

func printDentries(w *printer, r *census.DentryReport) {
	c := &r.Dentries
	if r.Filter != "" {
		w.line("of %s only:", r.Filter)
	}
	switch r.Source {
	case census.SourceChains:
		w.line("%d hashed dentries: a lower bound, for others are in no chain", c.Total)
	default:
		w.line("%d dentries of %s", c.Total, byteSize(c.Bytes))
	}
	for _, one := range r.Caches {
		w.line("cache %s at %s: %d of %d objects live, %d slabs, %s, %.1f %% of memory", one.Name, one.Addr, one.Live, one.Objects,
			one.Slabs, byteSize(one.Bytes), 100*float64(one.Bytes)/float64(max(r.Memory, 1)))
	}
	w.line("")
	w.table(func(w *printer) {
		w.line("STATE\tDENTRIES\tNEGATIVE\tMEMORY")
		for _, s := range r.States {
			w.line("%s\t%d\t%d\t%s", s.Name, s.Dentries, s.Negative, byteSize(s.Bytes))
		}
	})
	printDentrySupers(w, r)
	printDirectories(w, r)
	printPatterns(w, r)
	printDentryChecks(w, r)
	printHeld(w, "UNHASHED AND HELD", r.Held, r.MoreHeld)
	w.findings(r.Findings)
}

func printDentrySupers(w *printer, r *census.DentryReport) {
	w.line("")
	w.table(func(w *printer) {
		w.line("SUPER_BLOCK\tTYPE\tS_ID\tDENTRIES\tIN USE\tON LRU\tREFERENCED\tNEGATIVE\tUNHASHED\tLRU COUNTER\tMOUNTED ON")
		for i := range r.Supers {
			s := &r.Supers[i]
			counter := "-"
			if s.LRUCounter != nil {
				counter = fmt.Sprint(*s.LRUCounter)
			}
			id := s.ID
			if !s.Listed {
				id = "(not in the list of super_blocks)"
			}
			if s.Total > 0 || s.LRUCounter != nil && *s.LRUCounter > 0 {
				w.line("%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s", s.Addr, s.Type, id, s.Total, s.InUse, s.OnLRU, s.Referenced,
					s.Negative, s.Held, counter, orDash(strings.Join(s.Mounts, ", ")))
			}
		}
	})
	printMemcgs(w, r)
}

func printMemcgs(w *printer, r *census.DentryReport) {
	what := "dentries are not"
	if len(r.Memcgs) > 0 {
		what = "only unused dentries are"
		w.line("")
		w.table(func(w *printer) {
			w.line("MEMORY CGROUP\tKMEMCG_ID\tDENTRIES\tON LRU\tMEMORY")
			for _, m := range r.Memcgs {
				all, bytes := "-", "-"
				if m.Dentries != nil && m.Bytes != nil {
					all, bytes = fmt.Sprint(*m.Dentries), byteSize(*m.Bytes)
				}
				w.line("%s\t%d\t%s\t%d\t%s", orDash(m.Path), m.ID, all, m.OnLRU, bytes)
			}
		})
	}
	printUncharged(w, what, "dentries", r.WhyNotCharged, r.UnknownCharged)
}

// printUncharged says of which objects it is not known who they are charged to.
func printUncharged(w *printer, what, objects, why string, unknown uint64) {
	if why != "" {
		w.line("%s told apart by memory cgroup: %s", what, why)
	}
	if unknown > 0 {
		w.line("of %d %s the memory cgroup could not be read", unknown, objects)
	}
}

// bound says by how much counts may be too small.
func bound(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (each may be too small by %d at most)", n)
}

func printDirectories(w *printer, r *census.DentryReport) {
	w.line("")
	w.line("BY DIRECTORY%s", bound(r.DirectoryError))
	w.table(func(w *printer) {
		w.line("DENTRIES\tNEGATIVE\tON LRU\tUNHASHED\tMEMORY\tDIRECTORY\tMOST ARE")
		for _, d := range r.Directories {
			w.line("%d\t%d\t%d\t%d\t%s\t%s\t%s", d.Dentries, d.Negative, d.OnLRU, d.Unhashed, byteSize(d.Bytes), d.Path, orDash(d.Pattern))
		}
	})
}

func printPatterns(w *printer, r *census.DentryReport) {
	w.line("")
	w.line("BY PATTERN OF NAME%s", bound(r.PatternError))
	w.table(func(w *printer) {
		w.line("DENTRIES\tNEGATIVE\tON LRU\tMEMORY\tPATTERN\tSUCH AS\tMOST ARE IN")
		for _, p := range r.Patterns {
			sample := "-"
			if len(p.Samples) > 0 {
				sample = p.Samples[0].Name
			}
			w.line("%d\t%d\t%d\t%s\t%s\t%s\t%s", p.Dentries, p.Negative, p.OnLRU, byteSize(p.Bytes), p.Pattern, sample, orDash(p.Directory))
		}
	})
	if r.LongUnread > 0 {
		w.line("%d of %d long names, which lie apart from their dentry, were not read", r.LongUnread, r.LongNames)
	}
	if r.Strange > 0 {
		w.line("%d objects of the cache are no dentries", r.Strange)
	}
}

func printDentryChecks(w *printer, r *census.DentryReport) {
	if c := r.Chains; c != nil {
		w.line("")
		w.line("by their hashes the longest of %d chains holds %d of %d dentries; a random hash gives at most %d", c.Buckets, c.Longest, c.Hashed, c.ExpectedLongest)
	}
	printCounters(w, r.Counters)
	lists, short, wrong := 0, 0, 0
	for i := range r.Supers {
		for _, l := range r.Supers[i].LRU {
			lists++
			if l.Walked != nil {
				short++
				if *l.Walked != l.Counter {
					wrong++
				}
			}
		}
	}
	if lists > 0 {
		w.line("LRU lists: %d are not empty, %d were walked, %d of them have another length than their counter says", lists, short, wrong)
	}
}

func printCounters(w *printer, list []census.Counter) {
	for _, c := range list {
		agree := "agrees"
		if c.Kernel != c.Counted {
			agree = "differs"
		}
		w.line("%s is %d; counted are %d %s: %s", c.Name, c.Kernel, c.Counted, c.What, agree)
	}
}

func printHeld(w *printer, title string, list []census.Held, more uint64) {
	if len(list) == 0 {
		return
	}
	w.line("")
	w.line("%s", title)
	w.table(func(w *printer) {
		w.line("DENTRY\tINODE NUMBER\tLINKS\tSIZE\tTYPE\tPATH\tHELD BY")
		for i := range list {
			h := &list[i]
			var by []string
			for _, one := range h.Holders {
				by = append(by, one.String())
			}
			if h.More > 0 {
				by = append(by, fmt.Sprintf("and %d more", h.More))
			}
			w.line("%s\t%d\t%d\t%d\t%s\t%s\t%s", h.Dentry, h.Number, h.Links, h.Size, orDash(h.Type), orDash(h.Path), orDash(strings.Join(by, ", ")))
		}
	})
	if more > 0 {
		w.line("… and %d more (--held shows more)", more)
	}
}
