package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// kernelCommands are all commands that read a kernel by its debug information,
// with the arguments that make them answer; DUMP stands for the dump. A new one
// that wants more than a dump needs a line here.
var kernelCommands = map[string][]string{
	"bt":     {"--all", "DUMP"},
	"dcache": {"--entries", "-1", "DUMP"},
	"dentry": {"--children", "DUMP", "/proc/sys/net"},
	"dis":    {"DUMP", "__schedule"},
	"eval":   {"DUMP", "init_task"},
	"hash":   {"DUMP", "dentry"},
	"mod":    {"--sections", "DUMP"},
	"type":   {"DUMP", "struct task_struct"},
	"whatis": {"DUMP", "init_task"},
}

// sourceDependent are the members of answers that tell of the debug information
// itself: its name, which ways to unwind it offers, and elements of variables by
// index, for which the types of all variables are needed.
var sourceDependent = map[string][]string{
	"sys":  {"debuginfo"},
	"bt":   {"methods", "method", "confidence"}, // .debug_frame reaches where ORC does not
	"hung": {"confidence"},
	"slab": {"symbol"},
	// A vmlinux has the variables of functions, by which locks in allocated memory
	// that waiters lead to are named: "pi_mutex of futex_pi_state".
	"locks": {"name", "object", "fact", "statement"},
}

// eachKernelCommand calls visit with every command that takes --vmlinux, and its
// arguments.
func eachKernelCommand(t *testing.T, dump string, visit func(t *testing.T, name string, args []string)) {
	t.Helper()
	root := newRoot(io.Discard, io.Discard)
	seen := 0
	for _, c := range root.Commands() {
		if c.Flags().Lookup("vmlinux") == nil || slices.Contains([]string{"debuginfo", "pack"}, c.Name()) {
			continue
		}
		seen++
		args := kernelCommands[c.Name()]
		if args == nil {
			args = []string{"DUMP"}
		}
		args = slices.Clone(args)
		for i := range args {
			if args[i] == "DUMP" {
				args[i] = dump
			}
		}
		t.Run(c.Name(), func(t *testing.T) { visit(t, c.Name(), append([]string{c.Name(), "--json"}, args...)) })
	}
	if seen < 10 {
		t.Errorf("only %d commands take --vmlinux", seen)
	}
}

// TestSameAnswerFromEverySource: vmlinux with a module's debug information and a pack
// of both lead to the same answer of every command; so do vmlinux and the dump's own
// tables.
func TestSameAnswerFromEverySource(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: every command is run from three sources of debug information")
	}
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	pack := filepath.Join(t.TempDir(), "kernel.mpack")
	module := fixtures.Unpacked(t, "mortem_plant.ko")
	if status, _, stderr := mortem(t, "pack", vmlinux, module, "-o", pack); status != exitAnswered {
		t.Fatalf("pack: status %d, %s", status, stderr)
	}
	if st, err := os.Stat(pack); err != nil || st.Size() > 8<<20 {
		t.Errorf("the pack: %v, %v", st, err)
	}
	for boot, dump := range map[string]string{"main": fixtures.Path(t, kerneltest.Main), "kdump": fixtures.Unpacked(t, "kdump/vmcore.kdump")} {
		t.Run(boot, func(t *testing.T) {
			sameAnswers(t, dump, []string{"--vmlinux", vmlinux, "--debug-dir", filepath.Dir(module)}, []string{"--vmlinux", pack})
			sameAnswers(t, dump, []string{"--vmlinux", vmlinux}, nil)
		})
	}
}

// sameAnswers compares every command with some flags and with others.
func sameAnswers(t *testing.T, dump string, flags, other []string) {
	eachKernelCommand(t, dump, func(t *testing.T, name string, args []string) {
		status, want, stderr := mortem(t, append(args, flags...)...)
		if status == exitUsage || len(want) < 100 {
			t.Fatalf("%v: status %d, %d bytes, %s; does it need a line in kernelCommands?", args, status, len(want), stderr)
		}
		again, got, stderr := mortem(t, append(args, other...)...)
		if got, want := without(t, got, sourceDependent[name]), without(t, want, sourceDependent[name]); again != status || got != want {
			t.Errorf("%v with %q: status %d instead of %d, %d bytes instead of %d, %s\n%s", args, other, again, status, len(got), len(want), stderr, firstDifference(got, want))
		}
	})
}

// without removes members, wherever they are, from an answer in JSON.
func without(t *testing.T, text string, members []string) string {
	t.Helper()
	if len(members) == 0 {
		return text
	}
	var answer any
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	for _, name := range members {
		if !remove(answer, name) {
			t.Errorf("the answer has no %q", name)
		}
	}
	out, err := json.MarshalIndent(answer, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// remove removes a member at any depth, and tells whether there was one.
func remove(v any, name string) (found bool) {
	switch v := v.(type) {
	case map[string]any:
		_, found = v[name]
		delete(v, name)
		for _, inner := range v {
			found = remove(inner, name) || found
		}
	case []any:
		for _, inner := range v {
			found = remove(inner, name) || found
		}
	}
	return found
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return strings.Join(x[max(0, i-3):i+1], "\n") + "\ninstead of\n" + y[i]
		}
	}
	return "one is the beginning of the other"
}

// TestForcedEverywhere: another build's debug information is refused by every
// command that uses it; when it is forced, the answer says so, as text and as JSON.
func TestForcedEverywhere(t *testing.T) {
	other := anotherBuild(t, fixtures.Unpacked(t, kerneltest.Vmlinux))
	eachKernelCommand(t, fixtures.Path(t, kerneltest.Main), func(t *testing.T, name string, args []string) {
		args = append(args, "--vmlinux", other)
		status, stdout, stderr := mortem(t, args...)
		if name == "log" { // it needs debug information only where VMCOREINFO does not lead to the log
			if status != 0 || stdout == "" || stderr != "" {
				t.Errorf("%v: status %d, %d bytes, %s", args, status, len(stdout), stderr)
			}
			return
		}
		if status != exitUnusable || stdout != "" || !strings.Contains(stderr, "build id") {
			t.Errorf("%v: status %d, %d bytes, %s", args, status, len(stdout), stderr)
		}
		_, stdout, stderr = mortem(t, append(args, "--force")...)
		if !strings.Contains(stderr, "another build was forced") || !strings.Contains(findMember(t, stdout, "debuginfo_mismatch"), "build id") {
			t.Errorf("%v --force: nothing says that it was forced: %s", args, stderr)
		}
	})
}

// findMember is a member of an answer in JSON: of the answer itself, or of its
// coverage.
func findMember(t *testing.T, text, name string) string {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	if s, ok := object[name].(string); ok {
		return s
	}
	coverage, _ := object["coverage"].(map[string]any)
	s, _ := coverage[name].(string)
	return s
}
