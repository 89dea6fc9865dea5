package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestTypeOfMember asks for a type by two words and by a member; the places are
// those that pahole printed (vmlinux.pahole.xz).
func TestTypeOfMember(t *testing.T) {
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"struct", "list_head"}, "struct list_head {\n"},
		{[]string{"list_head"}, "struct list_head {\n"},
		{[]string{"struct dentry.d_name"}, "struct dentry.d_name is at offset 32, size 16:\nstruct qstr {\n"},
		{[]string{"struct", "dentry.d_sb"}, "struct dentry.d_sb is at offset 104, size 8:\nstruct super_block *"},
		{[]string{"--hex", "dentry.d_sb"}, "dentry.d_sb is at offset 0x68, size 0x8:\n"},
		{[]string{"sched_dl_entity.dl_yielded"}, "sched_dl_entity.dl_yielded is at offset 84, size 4, bit 1, 1 bits:\n"},
	} {
		status, out, errs := mortem(t, append([]string{"type", "--vmlinux", vmlinux}, tc.args...)...)
		if status != exitAnswered || !strings.HasPrefix(out, tc.want) {
			t.Errorf("%v: status %d, %s%s", tc.args, status, out, errs)
		}
	}
	_, out, _ := mortem(t, "type", "--json", "--vmlinux", vmlinux, "dentry.d_name")
	var r typeResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Offset == nil || *r.Offset != 32 || r.Size != 16 {
		t.Errorf("%v: %s", err, out)
	}
	for _, args := range [][]string{{""}, {"struct"}, {"struct nosuch"}, {"dentry.nosuch"}, {"dentry."}, {"."}, {"struct", "nosuch"}} {
		if status, _, errs := mortem(t, append([]string{"type", "--vmlinux", vmlinux}, args...)...); status != exitUsage || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: status %d, %s", args, status, errs)
		}
	}
}
