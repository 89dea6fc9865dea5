package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// behind is what a command line needs behind the dump.
var behind = map[string][]string{
	"hash": {"mount"}, "dentry": {"/"}, "type": {"task_struct"}, "eval": {"jiffies"}, "dis": {"schedule"}, "whatis": {"schedule"},
	"slab objects": {"dentry"}, "slab kinds": {"dentry"}, "slab tracks": {"dentry"},
}

// TestStatuses: the same mistake leads to the same status in all commands, to one line that
// says what it was, and to no answer.
func TestStatuses(t *testing.T) {
	vmcore := fixtures.Path(t, kerneltest.Main)
	directory, empty, text := t.TempDir(), write(t, "empty", nil), write(t, "notes.txt", []byte("no dump, and no ELF file\n"))
	commands(t, func(t *testing.T, c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "mortem ")
		fails := func(want int, says string, args ...string) {
			t.Helper()
			args = slices.Concat(strings.Fields(name), args)
			status, stdout, stderr := mortem(t, args...)
			if status != want || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "mortem: ") || !strings.Contains(stderr, says) {
				t.Errorf("%q: status %d, %q, %q; want status %d and one line with %q", args, status, stdout, stderr, want, says)
			}
		}
		with := func(args ...string) []string {
			if name == "pack" {
				args = append(args, "-o", directory+"/out.mpack")
			}
			return append(args, behind[name]...)
		}
		fails(exitUsage, "is missing")
		fails(exitUsage, "--no-such-flag", with("--no-such-flag", vmcore)...)
		fails(exitUsage, "--json", with("--json=perhaps", vmcore)...)
		for _, file := range []string{"/nowhere/vmcore", directory, empty, text} {
			fails(exitUnusable, file, with(file)...)
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			switch f.Value.Type() {
			case "number", "int", "uint", "uint64":
				for _, value := range []string{"-7", "many", ""} {
					fails(exitUsage, "--"+f.Name, with("--"+f.Name+"="+value, vmcore)...)
				}
			case "severity":
				fails(exitUsage, "--"+f.Name, with("--"+f.Name+"=dreadful", vmcore)...)
			}
		})
		if c.Flags().Lookup("vmlinux") == nil || slices.Contains([]string{"debuginfo", "log", "slab trace"}, name) {
			return // it needs none
		}
		for _, file := range []string{"/nowhere/vmlinux", directory, empty, text, vmcore} {
			fails(exitUnusable, file, with("--vmlinux", file, vmcore)...)
		}
	})
}
