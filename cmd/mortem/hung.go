package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/hung"
	"github.com/kmortem/mortem/analysis/locks/drawing"
)

func (a *app) hungCommand() *cobra.Command {
	var long, all bool
	c := &cobra.Command{
		Use:   "hung [flags] DUMP...",
		Short: "Tell who has been stuck for how long: blocked tasks, and processors that do not schedule",
		Long: "hung lists the tasks in uninterruptible sleep (state D), those together that have equal\n" +
			"stacks and wait for the same root blocker; the processors with what they run, and which of\n" +
			"them do not schedule (soft lockups) or take no interrupts (hard lockups); and what the\n" +
			"kernel's own watchdogs said in the log, each line with what became of its task.",
		Example: "  mortem hung --vmlinux vmlinux vmcore\n" +
			"  mortem hung --vmlinux vmlinux --long --all vmcore\n" +
			"  mortem hung --vmlinux vmlinux --fail-on critical vmcore",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withKernel(args, func(s *session) error {
				r, err := hung.Analyze(c.Context(), s.fs)
				if err != nil {
					return unusable(err)
				}
				return a.answerFindings(r, &r.Coverage, r.Findings, func(w *printer) { printHung(w, r, long, all) })
			})
		},
	}
	c.Flags().BoolVarP(&long, "long", "l", false, "print whole stacks")
	c.Flags().BoolVar(&all, "all", false, "print all groups, tasks and messages")
	a.kernelFlags(c.Flags())
	a.findingFlags(c.Flags())
	return c
}

func printHung(w *printer, r *hung.Report, long, all bool) {
	over := 0
	for i := range r.Tasks {
		if r.Tasks[i].Hung {
			over++
		}
	}
	w.line("%d tasks sleep uninterruptibly%s", len(r.Tasks), limitText(&r.Settings, over))
	printLockups(w, r, long)
	printGroupsOfHung(w, r, long, all)
	printMessages(w, r, all)
}

// limitText says what khungtaskd thinks of it.
func limitText(s *hung.Settings, over int) string {
	switch {
	case s.Timeout == nil:
		return ""
	case *s.Timeout == 0:
		return "; khungtaskd is off (hung_task_timeout_secs is 0)"
	}
	text := fmt.Sprintf(", %d of them for more than the %d s that khungtaskd tolerates", over, *s.Timeout)
	if s.Warnings != nil && *s.Warnings == 0 {
		text += " (it has used up its warnings, hung_task_warnings)"
	}
	return text
}

func printLockups(w *printer, r *hung.Report, long bool) {
	if len(r.CPUs) == 0 {
		return
	}
	w.line("\nPROCESSORS")
	printSpinners(w, r)
	for i := range r.CPUs {
		c := &r.CPUs[i]
		what := fmt.Sprintf("%d \"%s\"", c.PID, c.Comm)
		if c.Idle {
			what = "idle"
		} else if c.Doing != nil {
			what += ", " + c.Doing.What
			if c.Doing.Function != "" {
				what += " in " + c.Doing.Function
			}
		}
		var marks []string
		if c.Soft || c.Warned {
			marks = append(marks, "SOFT LOCKUP")
		}
		if c.WarnedHard {
			marks = append(marks, "HARD LOCKUP")
		}
		if len(marks) == 0 && len(c.Messages) > 0 {
			marks = append(marks, "reported in the log")
		}
		if len(marks) > 0 && c.Stuck != nil {
			marks = append(marks, "its watchdog has not run for "+drawing.Duration(*c.Stuck))
		}
		if c.Blocks > 0 {
			marks = append(marks, fmt.Sprintf("tasks that wait for it: %d", c.Blocks))
		}
		text := ""
		if len(marks) > 0 {
			text = "  [" + strings.Join(marks, ", ") + "]"
		}
		w.line("  CPU %-3d %s%s", c.Number, what, text)
		switch {
		case long:
			printFrameList(w, c.Stack, "      ")
		case (len(marks) > 0 || c.Spins != "") && len(c.Stack) > 0:
			w.line("          %s", stackLine(c.Stack))
		}
	}
}

// printSpinners tells in short how many processors spin for what.
func printSpinners(w *printer, r *hung.Report) {
	var names []string
	spinners := map[string]int{}
	for i := range r.CPUs {
		if name := r.CPUs[i].Spins; name != "" {
			if spinners[name] == 0 {
				names = append(names, name)
			}
			spinners[name]++
		}
	}
	for _, name := range names {
		i := slices.IndexFunc(r.CPUs, func(c hung.CPU) bool { return c.Spins == name })
		held := "of which no holder is known"
		if by := r.CPUs[i].HeldBy; len(by) > 0 {
			held = "held by " + strings.Join(by, ", ")
		}
		verb := "processors spin"
		if spinners[name] == 1 {
			verb = "processor spins"
		}
		w.line("  %d %s for %s, %s", spinners[name], verb, name, held)
	}
}

func printGroupsOfHung(w *printer, r *hung.Report, long, all bool) {
	if len(r.Groups) == 0 {
		return
	}
	w.line("\nBLOCKED TASKS: those with equal stacks and one root blocker together")
	for i := range r.Groups {
		if i == shownRoots && !all {
			w.line("  … %d more groups (--all)", len(r.Groups)-i)
			break
		}
		g := &r.Groups[i]
		var names []string
		for n, t := range g.Tasks {
			if n == shownWaiters && !all {
				names = append(names, fmt.Sprintf("… %d more", len(g.Tasks)-n))
				break
			}
			names = append(names, fmt.Sprintf("%d \"%s\"", r.Tasks[t].PID, r.Tasks[t].Comm))
		}
		longest := "a time that is not known"
		if g.Longest != nil {
			longest = drawing.Duration(*g.Longest)
		}
		w.line("  %d for up to %s: %s", len(g.Tasks), longest, strings.Join(names, ", "))
		w.line("      %s", g.What)
		if g.Root != "" {
			w.line("      the waiting ends at %s", g.Root)
		}
		if long {
			printFrameList(w, g.Stack, "      ")
		} else if text := stackLine(g.Stack); text != "" {
			w.line("      %s", text)
		}
	}
}

func printMessages(w *printer, r *hung.Report, all bool) {
	if r.LogError != "" {
		w.line("\nthe log: %s", r.LogError)
	}
	if len(r.Messages) == 0 {
		return
	}
	w.line("\nWHAT THE WATCHDOGS SAID")
	first := 0
	if len(r.Messages) > shownRoots && !all {
		first = len(r.Messages) - shownRoots
		w.line("  … %d older ones (--all)", first)
	}
	for i := first; i < len(r.Messages); i++ {
		m := &r.Messages[i]
		at, now := "", ""
		if m.Time != nil {
			at = fmt.Sprintf("[%12.6f] ", float64(*m.Time)/1e9)
		}
		if m.Tied != nil {
			now = "  (now: " + m.Tied.Now + ")"
		}
		w.line("  %s%s%s", at, m.Text, now)
	}
}
