package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// censusOn runs a command on the main boot's dump.
func censusOn(t *testing.T, command string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	base := []string{command, "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main)}
	return mortem(t, append(base, args...)...)
}

func TestCensus(t *testing.T) {
	for _, c := range []struct {
		command string
		args    []string
		status  int
		says    []string
	}{
		{"dentries", nil, exitAnswered, []string{"36533 dentries", "cache dentry", "unused on the LRU, referenced", "/mortem/a", "BY DIRECTORY",
			".<n>_dOeSnotExist_.db", "nr_dentry is 35629; counted are 35629", "13 were walked, 0 of them", "holder (cwd)", "NSS_SDB_USE_CACHE=yes", "vfs_cache_pressure does not help"}},
		{"dentries", []string{"--fail-on", "info"}, exitFinding, []string{"FINDINGS"}},
		{"dentries", []string{"--dir", "/mnt/many", "--top", "1"}, exitAnswered, []string{"of directory /mnt/many only", "400 dentries", "file-<n>.dat"}},
		{"dentries", []string{"--sb", "vdb"}, exitAnswered, []string{"2 dentries", "/frozen"}},
		{"dentries", []string{"--sb", "/mnt"}, exitAnswered, []string{"22981 dentries"}},
		{"dentries", []string{"--pattern", "blob-<uuid>.tmp"}, exitAnswered, []string{"500 dentries", "/mnt/var/cache"}},
		{"dentries", []string{"--by-chains", "--walk-lru", "-1"}, exitAnswered, []string{"35148 hashed dentries: a lower bound", "0 were walked"}},
		{"inodes", nil, exitAnswered, []string{"16709 inodes: 15805 in use", "nr_inodes is 15805; counted are 15805", "DELETED AND IN USE", "/run/gone-exe"}},
	} {
		status, out, errs := censusOn(t, c.command, c.args...)
		if status != c.status || errs != "" {
			t.Errorf("%s %v: status %d, %s", c.command, c.args, status, errs)
		}
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%s %v does not say %q:\n%s", c.command, c.args, want, out)
			}
		}
	}
}

// cells are the lines of a table below its heading, with one space between cells.
func cells(out, heading string) []string {
	_, table, _ := strings.Cut(out, "\n"+heading)
	table, _, _ = strings.Cut(table, "\n\n")
	var lines []string
	for _, line := range strings.Split(table, "\n")[1:] {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

// TestCensusMemcgs: the guest planted 16,000 names as nobody, 4,000 in /mortem/a and 2,000 in
// /mortem/b; three of the files beside them are the root's too. Where it is not known who
// is charged the text says why.
func TestCensusMemcgs(t *testing.T) {
	const heading = "MEMORY CGROUP  KMEMCG_ID"
	for _, c := range []struct {
		command string
		args    []string
		want    []string
	}{
		{"dentries", []string{"--dir", "/mnt/etc/pki/nssdb"}, []string{"/ -1 16003 16003 2.9 MiB", "/mortem/a 6 4000 4000 750.0 KiB", "/mortem/b 7 2000 2000 375.0 KiB"}},
		{"dentries", []string{"--pattern", ".016*"}, []string{"/mortem/a 6 1000 1000 187.5 KiB"}},
		{"dentries", []string{"--by-chains"}, []string{"/ -1 - 27279 -", "/mortem/a 6 - 4001 -", "/mortem/b 7 - 2001 -", "/mortem/mem 5 - 2 -",
			"only unused dentries are told apart by memory cgroup: hash chains do not say it"}},
	} {
		status, out, errs := censusOn(t, c.command, c.args...)
		if got := cells(out, heading); status != exitAnswered || !slices.Equal(got, c.want) {
			t.Errorf("%s %v: status %d, %s\n%q\nwant %q", c.command, c.args, status, errs, got, c.want)
		}
	}
	for command, total := range map[string]int{"dentries": 36533, "inodes": 16709} { // that there are in all
		_, out, errs := censusOn(t, command)
		sum, rows := 0, cells(out, heading)
		for _, row := range rows {
			n, _ := strconv.Atoi(strings.Fields(row)[2])
			sum += n
		}
		if sum != total || len(rows) != 4 || !strings.HasPrefix(rows[0], "/ -1 ") {
			t.Errorf("%s: %d by memory cgroup, %d in all: %q, %s", command, sum, total, rows, errs)
		}
	}
	status, out, errs := censusOn(t, "dentries", "--by-chains", "--sb", "/mnt")
	if status != exitAnswered || !strings.Contains(out, "dentries are not told apart by memory cgroup: hash chains do not say it") {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
}

// TestCensusNotCharged: a kernel that does not record who an object is charged to.
func TestCensusNotCharged(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // kernels of a layout share a build id
	files := writeSynthetic(t, synthetic.NewScene(synthetic.EL7(), synthetic.Machine{MemMap: true}, 1).Kernel)
	for command, says := range map[string]string{"inodes": "inodes are not told apart", "dentries": "dentries are not told apart"} {
		_, out, errs := mortem(t, append([]string{command}, files...)...)
		if !strings.Contains(out, says+" by memory cgroup: the slabs of this kernel have no record") {
			t.Errorf("%s: %s\n%s", command, errs, out)
		}
	}
}

func TestCensusJSON(t *testing.T) {
	status, out, errs := censusOn(t, "dentries", "--json", "--top", "2")
	var r census.DentryReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || errs != "" {
		t.Fatalf("status %d, %v, %s", status, err, errs)
	}
	if len(r.Directories) != 2 || len(r.Patterns) != 2 || r.Dentries.Total != 36533 || r.Supers[0].LRUCounter == nil || len(r.Held) == 0 || len(r.States) == 0 {
		t.Errorf("%+v", r)
	}
	status, out, errs = censusOn(t, "inodes", "--json")
	var i census.InodeReport
	if err := json.Unmarshal([]byte(out), &i); err != nil || status != exitAnswered || errs != "" {
		t.Fatalf("status %d, %v, %s", status, err, errs)
	}
	if i.Inodes.Total != 16709 || len(i.Supers) < 20 || len(i.Caches) == 0 || len(i.Deleted) == 0 {
		t.Errorf("%+v", i)
	}
}

func TestCensusUsage(t *testing.T) {
	for _, args := range [][]string{
		{"dentries", "--top", "-1"}, {"dentries", "--held", "-1"}, {"dentries", "--walk-lru", "-2"}, {"dentries", "--pattern", "[a"}, {"dentries", "--dir", "/no/such"},
		{"dentries", "--sb", "nosuch"}, {"dentries", "--sb", "tmpfs"}, {"dentries", "--fail-on", "never"}, {"inodes", "--held", "few"}, {"inodes", "--fail-on", "never"},
	} {
		if status, out, errs := censusOn(t, args[0], args[1:]...); status != exitUsage || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: status %d, %q, %q", args, status, out, errs)
		}
	}
	for _, command := range []string{"dentries", "inodes"} {
		if status, _, errs := mortem(t, command); status != exitUsage || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: status %d, %q", command, status, errs)
		}
	}
}
