package main

import (
	"strings"
	"testing"
)

// Limits raise alarms, on which --fail-on acts.
func TestAlarms(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"supers", "--max-unused", "10", "--fail-on", "warning"}, exitFinding, "unused dentries, more than the limit of 10"},
		{[]string{"supers", "--max-dentries", "1", "--fail-on", "critical"}, exitFinding, "dentries, more than the limit of 1"},
		{[]string{"supers", "--max-negative", "1", "--fail-on", "critical"}, exitFinding, "names that do not exist, more than the limit of 1"},
		{[]string{"supers", "--max-unused", "1000000000", "--max-dentries", "1000000000", "--fail-on", "info"}, exitAnswered, "dentry-state: "},
		{[]string{"dcache", "--max-length", "1", "--fail-on", "warning"}, exitFinding, "more than the limit of 1"},
		{[]string{"dcache", "--max-length", "1", "--cache", "64M"}, exitAnswered, "more than the limit of 1"},
		{[]string{"supers", "--fail-on", "fatal"}, exitUsage, "fatal"},
		{[]string{"supers", "--max-unused", "-1"}, exitUsage, "max-unused"},
		{[]string{"dcache", "--max-length", "-1"}, exitUsage, "max-length"},
		{[]string{"dcache", "--cache", "much"}, exitUsage, "512M"},
	} {
		status, out, errs := onMainDump(t, c.args[0], c.args[1:]...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("%q: status %d, want %d; %q is not in\n%s%s", c.args, status, c.status, c.says, out, errs)
		}
	}
}
