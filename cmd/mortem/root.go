package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kmortem/mortem/analysis/finding"
)

// app is what all commands share: where to write, and the flags of all.
type app struct {
	stdout, stderr io.Writer

	ctx context.Context // of the command that runs

	vmlinux   string
	debugDirs []string
	force     bool
	noCache   bool
	json      bool
	failOn    severity
	raw       rawMemory
	cache     cacheSize // of unpacked pages; 0 for the usual one
}

const statusHelp = `Exit status:
  0  answered
  1  answered, with a finding at or above the severity of --fail-on
  2  wrong usage, or a name that is not in the dump
  3  the dump or its debug information cannot be used
  4  answered in part: something could not be read, and counts are lower bounds
`

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	a := &app{stdout: stdout, stderr: stderr, ctx: context.Background()}
	root := &cobra.Command{
		Use:   "mortem",
		Short: "Analyze crash dumps of Linux kernels offline",
		Long: "mortem answers, from a crash dump of a Linux kernel and nothing else, what a kernel\n" +
			"engineer would otherwise dig out by hand: who holds the lock that everybody waits for, who is\n" +
			"stuck and where, where the memory went, which hash chains are too long and why.\n\n" + dumpNames + "\n" + statusHelp,
		Example: "  mortem info vmcore\n" +
			"  mortem locks --vmlinux vmlinux vmcore\n" +
			"  mortem mem --vmlinux vmlinux --json vmcore",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("there is no command %q; see 'mortem --help'", args[0])
			}
			return nil
		},
		RunE:             func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRun: func(c *cobra.Command, _ []string) { a.ctx = c.Context() },
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w; see '%s --help'", err, c.CommandPath())
	})
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the result as JSON")
	a.imageFlags(root.PersistentFlags())
	root.AddCommand(a.dcacheCommand(), a.dentriesCommand(), a.inodesCommand(), a.supersCommand(), a.dentryCommand(), a.hashCommand(),
		a.memCommand(), a.slabCommand(), a.whatisCommand(), a.psCommand(), a.btCommand(), a.locksCommand(), a.hungCommand(),
		a.infoCommand(), a.sysCommand(), a.logCommand(), a.modCommand(), a.disCommand(), a.typeCommand(), a.evalCommand(),
		a.debuginfoCommand(), a.packCommand())
	return root
}

// kernelFlags adds the flags of commands that need debug information.
func (a *app) kernelFlags(f *pflag.FlagSet) {
	f.StringVar(&a.vmlinux, "vmlinux", "", "debug information of the dumped kernel: vmlinux, its separated debug file, a pack file, or an RPM or DEB debug package, also compressed; without it mortem looks for it, and takes what the dump itself holds otherwise")
	f.StringArrayVar(&a.debugDirs, "debug-dir", nil, "look for debug information below this directory first (repeatable)")
	f.BoolVar(&a.force, "force", false, "accept debug information of another build; every answer may be wrong then")
	f.BoolVar(&a.noCache, "no-cache", false, "keep no index of the debug information in the cache directory, and use none")
}

// findingFlags adds the flags of commands that state findings.
func (a *app) findingFlags(f *pflag.FlagSet) {
	f.Var(&a.failOn, "fail-on", "exit with status 1 where a finding is at least of this severity: info, warning or critical")
}

// severity is the flag --fail-on; empty where it is not given.
type severity finding.Severity

func (s *severity) String() string { return string(*s) }
func (s *severity) Type() string   { return "severity" }
func (s *severity) Set(text string) error {
	parsed, err := finding.ParseSeverity(text)
	*s = severity(parsed)
	return err
}

// reached tells whether a finding is at least as severe.
func (s severity) reached(list []finding.Finding) bool {
	return s != "" && finding.Worst(list).Rank() >= finding.Severity(s).Rank()
}

// checkSort checks the value of --sort.
func checkSort(order string, orders []string) error {
	if slices.Contains(orders, order) {
		return nil
	}
	return usage("--sort: there is no order %q; there are %s", order, strings.Join(orders, ", "))
}

// atLeast is an argument check that says what is missing.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usage("%s is missing; see '%s --help'", what, c.CommandPath())
		}
		return nil
	}
}
