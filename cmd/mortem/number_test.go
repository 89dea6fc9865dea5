package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestNumbers: what flags of numbers take.
func TestNumbers(t *testing.T) {
	var m, l int
	for _, tc := range []struct {
		value pflag.Value
		n     *int
		text  string
		want  int
	}{
		{most{&m}, &m, "7", 7}, {most{&m}, &m, "0", -1}, {most{&m}, &m, "2147483647", maxCount},
		{most{&m}, &m, "9223372036854775807", maxCount}, {most{&m}, &m, "99999999999999999999999", maxCount},
		{listed{&l}, &l, "7", 7}, {listed{&l}, &l, "0", 0}, {listed{&l}, &l, "-1", -1},
	} {
		if err := tc.value.Set(tc.text); err != nil || *tc.n != tc.want {
			t.Errorf("%T of %s: %d, %v; want %d", tc.value, tc.text, *tc.n, err, tc.want)
		}
	}
	for _, text := range []string{"", "-1", "-9", "many", "1.5", "0x10", "+3"} {
		if err := (most{&m}).Set(text); err == nil {
			t.Errorf("%q was taken for %d", text, m)
		}
	}
	if err := (listed{&l}).Set("-2"); err == nil {
		t.Errorf("-2 was taken for %d", l)
	}
}

// TestMostFlags: flags that say how many of something are wanted are of one kind in all
// commands, and 0 stands for all.
func TestMostFlags(t *testing.T) {
	names := map[string]bool{"top": true, "limit": true, "held": true}
	commands(t, func(t *testing.T, c *cobra.Command) {
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			_, is := f.Value.(most)
			if is != names[f.Name] || is && !strings.HasSuffix(f.Usage, "; 0 for all") {
				t.Errorf("--%s is a %T: %s", f.Name, f.Value, f.Usage)
			}
		})
	})
}

// TestAll: with 1 there is one, and with 0 there are more than the usual number, or, where
// that is more than there are, as many.
func TestAll(t *testing.T) {
	vmcore, vmlinux := fixtures.Path(t, kerneltest.Main), fixtures.Path(t, kerneltest.Vmlinux)
	for _, tc := range []struct {
		flag, list string
		more       int
		args       []string
	}{
		{"--top", "chains", 10, []string{"dcache", "--entries", "0", vmcore}},
		{"--top", "tables.0.chains", 3, []string{"hash", "--entries", "0", vmcore, "mount"}},
		{"--top", "directories", 20, []string{"dentries", "--walk-lru", "-1", vmcore}},
		{"--limit", "instructions", 50, []string{"dis", vmcore, "schedule"}},
		{"--limit", "stacks.0.frames", 3, []string{"bt", vmcore, "1"}},
	} {
		count := func(n string) int {
			args := append(slices.Clone(tc.args), tc.flag, n, "--json", "--vmlinux", vmlinux)
			status, stdout, stderr := mortem(t, args...)
			if status != exitAnswered {
				t.Fatalf("%q: status %d, %s", args, status, stderr)
			}
			return lengthOf(t, stdout, tc.list)
		}
		one, all := count("1"), count("0")
		if one != 1 || all <= tc.more {
			t.Errorf("%q: %d of %s with %s 1, %d with 0, not more than %d", tc.args, one, tc.list, tc.flag, all, tc.more)
		}
	}
}

// TestNoEntries: of the entries, 0 lists none.
func TestNoEntries(t *testing.T) {
	vmcore, vmlinux := fixtures.Path(t, kerneltest.Main), fixtures.Path(t, kerneltest.Vmlinux)
	for n, want := range map[string]bool{"0": false, "1": true, "-1": true} {
		_, stdout, stderr := mortem(t, "hash", "--json", "--entries", n, "--vmlinux", vmlinux, vmcore, "mount")
		if got := strings.Contains(stdout, `"entries": [`); got != want || stderr != "" {
			t.Errorf("--entries %s: entries are listed: %v; %s", n, got, stderr)
		}
	}
}

// lengthOf is the length of an array in JSON, by its path.
func lengthOf(t *testing.T, text, path string) int {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, ".") {
		switch now := v.(type) {
		case map[string]any:
			v = now[name]
		case []any:
			v = now[0]
		}
	}
	list, ok := v.([]any)
	if !ok {
		t.Fatalf("%s is no array: %.300s", path, text)
	}
	return len(list)
}
