package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestLocksOfAllKinds: what is waited for is named as a person would, whatever it is.
func TestLocksOfAllKinds(t *testing.T) {
	dump := fixtures.Unpacked(t, "waits/vmcore.kdump")
	roles := map[string]int{}
	for _, p := range fixtures.Truth(t, "waits").Plant.Players {
		roles[p.Role] = p.Tid
	}
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"locks", "--all"}, []string{"deadlocks: 0", "buffer lock block 8191 of vdb", `workqueue "mortem_waits"`, "folio writeback page 1 of /frozen/written",
			"folio lock page 2 of /frozen/mapped", "POSIX lock of /mnt/data/ofd-posix", "lease of /mnt/data/lease-read", "pipe /mnt/data/full", "its other end is open in ",
			"RCU rcu_state (expedited)", "hlist_bl lock dentry_hashtable[", "lockref d_lockref.lock of /frozen/dir/locked-dentry",
			"seqlock rename_lock", `queued on the workqueue "mortem_waits", which runs as many as it may`}},
		{[]string{"locks", "--lock", "mw_slow"}, []string{fmt.Sprintf("held by %d ", roles["work.run"]), "a worker runs it"}},
		{[]string{"locks", "--task", fmt.Sprint(roles["buffer.hold"])}, []string{`"u/buffer.hold" waits for no lock`, "3 tasks wait"}},
		{[]string{"hung"}, []string{"spins for seqlock rename_lock", "waits for variable mw_variable", fmt.Sprintf("the waiting ends at %d \"u/spin.hold\"", roles["spin.hold"])}},
	} {
		status, out, errs := mortem(t, append([]string{c.args[0], "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), dump}, c.args[1:]...)...)
		if status != exitAnswered || errs != "" {
			t.Errorf("%v: status %d, %s", c.args, status, errs)
		}
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not say %q:\n%s", c.args, want, out)
			}
		}
	}
}
