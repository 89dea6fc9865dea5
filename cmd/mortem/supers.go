package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/supers"
)

func (a *app) supersCommand() *cobra.Command {
	var limits supers.Limits
	c := &cobra.Command{
		Use:   "supers [flags] DUMP...",
		Short: "List all super_blocks with their mounts, dentries and inodes",
		Long: "supers lists every super_block: its s_id and type, where it is mounted, how many hashed\n" +
			"dentries it has, how many unused ones are on its s_dentry_lru (by the kernel's counter,\n" +
			"and as walked), and how many inodes; and the counters of /proc/sys/fs/dentry-state. With\n" +
			"limits it raises alarms: warnings, and critical ones where a limit is exceeded tenfold.",
		Example: "  mortem supers --vmlinux vmlinux vmcore\n" +
			"  mortem supers --vmlinux vmlinux --max-unused 10000000 --max-negative 1000000 --fail-on warning vmcore",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withKernel(args, func(s *session) error {
				r, err := supers.Analyze(c.Context(), s.fs)
				if err != nil {
					return unusable(err)
				}
				r.Findings = r.Alarms(limits)
				return a.answerFindings(r, &r.Coverage, r.Findings, func(w *printer) { printSupers(w, r) })
			})
		},
	}
	c.Flags().Uint64Var(&limits.Unused, "max-unused", 0, "raise an alarm where a super_block keeps more unused dentries; 0 for never")
	c.Flags().Uint64Var(&limits.Dentries, "max-dentries", 0, "raise an alarm where there are more dentries altogether; 0 for never")
	c.Flags().Uint64Var(&limits.Negative, "max-negative", 0, "raise an alarm where there are more negative dentries altogether; 0 for never")
	a.findingFlags(c.Flags())
	a.kernelFlags(c.Flags())
	return c
}

func printSupers(w *printer, r *supers.Report) {
	w.table(func(w *printer) {
		w.line("SUPER_BLOCK\tTYPE\tS_ID\tDEV\tHASHED\tNEGATIVE\tUNUSED (COUNTER)\tUNUSED (WALKED)\tINODES\tMOUNTED ON")
		for i := range r.SuperBlocks {
			s := &r.SuperBlocks[i]
			w.line("%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s", s.Addr, s.Type, s.ID, s.Device,
				s.Hashed, s.Negative, s.UnusedCounter, s.UnusedWalked, s.Inodes, mountedOn(s))
		}
	})
	negative := "negative ones not counted"
	if n := r.State.Negative; n != nil {
		negative = fmt.Sprintf("negative %d", *n)
	}
	w.line("")
	w.line("dentry-state: %d dentries, unused %d, %s", r.State.Dentries, r.State.Unused, negative)
	w.findings(r.Findings)
}

// shownMounts is how many mount points of one file system a line names.
const shownMounts = 4

func mountedOn(s *supers.SuperBlock) string {
	var names []string
	more := 0
	for _, m := range s.Mounts {
		name := m.Path
		switch {
		case m.State != "":
			name = "(" + m.State + ")"
		case m.Root != "/":
			name += " (its " + m.Root + ")"
		}
		if !m.Init && m.State == "" {
			name += " (another namespace)"
		}
		if len(names) == shownMounts {
			more++
			continue
		}
		names = append(names, name)
	}
	out := strings.Join(names, ", ")
	if more > 0 {
		out += ", …"
	}
	if s.Frozen {
		out += " [frozen]"
	}
	if out == "" {
		out = "-"
	}
	return out
}
