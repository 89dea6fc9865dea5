package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/hash"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// hashOn runs the command on the main boot's dump.
func hashOn(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	base := []string{"hash", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main)}
	return mortem(t, append(base, args...)...)
}

func TestHash(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		says   []string
	}{
		{[]string{"--all"}, exitAnswered, []string{"TABLE", "dentry", "empty: ", "netlink (27)", "not in this kernel", "conntrack", "FINDINGS"}},
		{[]string{"--all", "--fail-on", "warning"}, exitFinding, []string{"dentry"}},
		{[]string{"tcp", "unix-net"}, exitAnswered, []string{"established TCP connections", "hlist_nulls_head", "struct sock_common.skc_nulls_node", "BUCKET"}},
		{[]string{"css_set_table", "--entry", "struct css_set.hlist"}, exitAnswered, []string{"128 buckets", "entries are struct css_set.hlist"}},
		{[]string{"init_net.dev_name_head", "--count", "256"}, exitAnswered, []string{"1 entries"}},
		{[]string{"init_net.dev_name_head", "--bits", "8"}, exitAnswered, []string{"256 buckets"}},
	} {
		status, out, errs := hashOn(t, c.args...)
		if status != c.status || errs != "" {
			t.Errorf("%v: status %d, %s", c.args, status, errs)
		}
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not say %q:\n%s", c.args, want, out)
			}
		}
	}
	if status, out, errs := mortem(t, "hash", "--list"); status != exitAnswered || errs != "" || !strings.Contains(out, "conntrack") {
		t.Errorf("status %d, %q, %s", status, out, errs)
	}
}

func TestHashJSON(t *testing.T) {
	status, out, errs := hashOn(t, "--json", "mount", "inode")
	var r hash.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || errs != "" {
		t.Fatalf("status %d, %v, %s", status, err, errs)
	}
	if len(r.Tables) != 2 || r.Tables[0].Buckets == 0 || r.Tables[0].Histogram == nil || r.Findings == nil {
		t.Errorf("%+v", r)
	}
}

func TestHashUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"nosuch"}, {"inode_hashtable"}, {"init_task"}, {"--all", "tcp"}, {"tcp", "--top", "-1"}, {"tcp", "--bits", "40"},
		{"pid"}, {"jiffies"}, {"css_set_table", "--entry", "struct nosuch.x"}, {"css_set_table", "--head", "nosuch"}, {"--all", "--fail-on", "never"},
	} {
		if status, out, errs := hashOn(t, args...); status != exitUsage || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: status %d, %q, %q", args, status, out, errs)
		}
	}
	if status, _, errs := mortem(t, "hash"); status != exitUsage || strings.Count(errs, "\n") != 1 {
		t.Errorf("status %d, %q", status, errs)
	}
}
