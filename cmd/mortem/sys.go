package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/system"
)

func (a *app) sysCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sys [flags] DUMP...",
		Short: "Tell which machine it was, how it stood, and how it ended",
		Long: "sys prints the banner that crash begins with: the kernel, the dump, processors, date and\n" +
			"uptime at the time of the dump, load averages, tasks by state, names and memory of the\n" +
			"machine, the panic and the task that panicked. Below it stand what taints the kernel, its\n" +
			"command line, and the log from the trouble on. A dump from which makedumpfile left pages out\n" +
			"is called partial, and one that was cut short or not written to its end incomplete.",
		Example: "  mortem sys --vmlinux vmlinux vmcore\n" +
			"  mortem sys --json --vmlinux vmlinux vmcore | jq .panic_task",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withKernel(args, func(s *session) error {
				r, err := system.Analyze(c.Context(), s.kernel)
				if err != nil {
					return unusable(err)
				}
				return a.answer(r, &r.Coverage, func(w *printer) { printSystem(w, r) })
			})
		},
	}
	a.kernelFlags(c.Flags())
	return c
}

// banner prints a line of the banner as crash does.
func banner(w *printer, name, format string, args ...any) {
	w.line("%12s: "+format, append([]any{name}, args...)...)
}

func printSystem(w *printer, r *system.Report) {
	tainted, partial := "", ""
	if r.Tainted != 0 {
		tainted = "  [TAINTED]"
	}
	if r.DumpLevel != nil && *r.DumpLevel > 0 {
		partial = "  [PARTIAL DUMP]"
	}
	if !r.Complete {
		partial += "  [INCOMPLETE]"
	}
	banner(w, "KERNEL", "%s%s", r.DebugInfo, tainted)
	banner(w, "DUMPFILE", "%s  (%s)%s", strings.Join(r.Files, ", "), r.Format, partial)
	banner(w, "CPUS", "%d", r.CPUs)
	printTimes(w, r)
	banner(w, "TASKS", "%d (%s)", r.Tasks, countStates(r))
	banner(w, "NODENAME", "%s", orUnknown(r.Nodename))
	banner(w, "RELEASE", "%s", orUnknown(r.Release))
	banner(w, "VERSION", "%s", orUnknown(r.Version))
	mhz := ""
	if r.MHz != 0 {
		mhz = fmt.Sprintf("  (%d Mhz)", r.MHz)
	}
	banner(w, "MACHINE", "%s%s", orUnknown(r.Machine), mhz)
	if r.Present != 0 {
		banner(w, "MEMORY", "%s, of which the kernel manages %s", byteSize(r.Present), byteSize(r.Managed))
	} else {
		banner(w, "MEMORY", "not known")
	}
	printPanic(w, r)
	printState(w, r)
	if len(r.Log) > 0 {
		w.line("")
		for i := range r.Log {
			m := &r.Log[i]
			stamp := ""
			if m.Time != nil {
				stamp = logTime(time.Duration(*m.Time)) + " "
			}
			w.line("%s%s", stamp, m.Text)
		}
	}
}

func printTimes(w *printer, r *system.Report) {
	if r.Date != nil {
		banner(w, "DATE", "%s UTC  (%s)", r.Date.Format("Mon Jan _2 15:04:05 2006"), r.DateBy)
	} else {
		banner(w, "DATE", "not known")
	}
	if r.Uptime != nil {
		banner(w, "UPTIME", "%s", crashUptime(time.Duration(*r.Uptime)))
	} else {
		banner(w, "UPTIME", "not known")
	}
	if l := r.Load; len(l) == 3 {
		banner(w, "LOAD AVERAGE", "%.2f, %.2f, %.2f", l[0], l[1], l[2])
	} else {
		banner(w, "LOAD AVERAGE", "not known")
	}
}

// crashUptime shows a time as crash does: days, and hours, minutes, seconds.
func crashUptime(d time.Duration) string {
	s := int64(d / time.Second)
	text := fmt.Sprintf("%02d:%02d:%02d", s/3600%24, s/60%60, s%60)
	if days := s / 86400; days > 0 {
		text = fmt.Sprintf("%d days, %s", days, text)
	}
	return text
}

func countStates(r *system.Report) string {
	var parts []string
	for _, s := range r.States {
		parts = append(parts, fmt.Sprintf("%d %s", s.Count, s.Name))
	}
	return strings.Join(parts, ", ")
}

func printPanic(w *printer, r *system.Report) {
	switch p := r.Panic; {
	case p == nil:
		banner(w, "PANIC", "no line of the log speaks of one")
	case p.Fatal:
		banner(w, "PANIC", "%q", p.Text)
	default:
		banner(w, "PANIC", "none in the log; last trouble: %q (%s)", p.Text, p.Rule)
	}
	if c := r.Cause; c != nil {
		banner(w, "BEFORE IT", "%q (%s)", c.Text, c.Rule)
	}
	if t := r.PanicTask; t != nil {
		banner(w, "PID", "%d", t.PID)
		banner(w, "COMMAND", "%q", t.Comm)
		banner(w, "TASK", "%016x", uint64(t.Addr))
		banner(w, "CPU", "%d", t.CPU)
		banner(w, "STATE", "%s (PANIC)", t.State)
		return
	}
	for _, t := range r.Running {
		banner(w, fmt.Sprintf("CPU %d", t.CPU), "%d %q  %016x  %s (ACTIVE)", t.PID, t.Comm, uint64(t.Addr), t.State)
	}
}

func printState(w *printer, r *system.Report) {
	if len(r.Taints) == 0 {
		banner(w, "TAINTS", "none")
	}
	for i, t := range r.Taints {
		name := "             "
		if i == 0 {
			name = "      TAINTS:"
		}
		letter := t.Letter
		if letter == "" {
			letter = fmt.Sprintf("bit %d", t.Bit)
		}
		w.line("%s %s: %s", name, letter, t.Meaning)
	}
	banner(w, "COMMAND LINE", "%s", orUnknown(r.CommandLine))
	for _, u := range r.Unknown {
		banner(w, "NOT KNOWN", "%s", u)
	}
}
