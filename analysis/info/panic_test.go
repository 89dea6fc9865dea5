package info

import (
	"testing"
	"time"

	"github.com/kmortem/mortem/kernel/printk"
)

// line is a line of a log, at a second since boot.
type line struct {
	sec      int
	facility printk.Facility
	text     string
}

func TestPanicLine(t *testing.T) {
	for _, c := range []struct {
		name        string
		log         []line
		rule, panic string // of the end
		cause       string
		fatal       bool
	}{
		{"sysrq, 2.6.32", []line{
			{1, 0, "Command line: panic=10"},
			{90, 0, "SysRq : Trigger a crash"},
			{90, 0, "BUG: unable to handle kernel NULL pointer dereference at (null)"},
			{90, 0, "IP: [<ffffffff81352fd6>] sysrq_handle_crash+0x16/0x20"},
			{90, 0, "Oops: 0002 [#1] SMP "},
			{90, 0, "Kernel panic - not syncing: Fatal exception"},
		}, "panic", "Kernel panic - not syncing: Fatal exception", "SysRq : Trigger a crash", true},
		{"sysrq, 6.1", []line{
			{90, 0, "sysrq: Trigger a crash"},
			{90, 0, "Kernel panic - not syncing: sysrq triggered crash"},
			{90, 0, "---[ end Kernel panic - not syncing: sysrq triggered crash ]---"},
		}, "panic", "Kernel panic - not syncing: sysrq triggered crash", "sysrq: Trigger a crash", true},
		{"sysrq kexec without a panic line", []line{{90, 0, "sysrq: SysRq : Trigger a crash"}},
			"sysrq crash", "sysrq: SysRq : Trigger a crash", "", true},
		{"oops, 6.1", []line{
			{10, 0, "BUG: kernel NULL pointer dereference, address: 0000000000000008"},
			{700, 0, "general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] PREEMPT SMP NOPTI"},
			{701, 0, "Kernel panic - not syncing: Fatal exception in interrupt"},
		}, "panic", "Kernel panic - not syncing: Fatal exception in interrupt",
			"general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] PREEMPT SMP NOPTI", true},
		{"oops without a panic", []line{
			{10, 0, "------------[ cut here ]------------"},
			{10, 0, "kernel BUG at mm/slub.c:4023!"},
			{10, 0, "invalid opcode: 0000 [#1] SMP"},
			{400, 0, "INFO: task dd:77 blocked for more than 120 seconds."},
		}, "oops", "invalid opcode: 0000 [#1] SMP", "", false},
		{"hung task", []line{
			{500, 0, "INFO: task snmpd:4711 blocked for more than 120 seconds."},
			{500, 0, "Kernel panic - not syncing: hung_task: blocked tasks"},
		}, "panic", "Kernel panic - not syncing: hung_task: blocked tasks", "INFO: task snmpd:4711 blocked for more than 120 seconds.", true},
		{"soft lockup", []line{
			{500, 0, "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:99]"},
			{500, 0, "Kernel panic - not syncing: softlockup: hung tasks"},
		}, "panic", "Kernel panic - not syncing: softlockup: hung tasks", "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:99]", true},
		{"hard lockup", []line{
			{500, 0, "Kernel panic - not syncing: Watchdog detected hard LOCKUP on cpu 21"},
		}, "panic", "Kernel panic - not syncing: Watchdog detected hard LOCKUP on cpu 21", "", true},
		{"a program's words", []line{{5, 1, "Kernel panic - not syncing: says systemd"}}, "", "", "", false},
		{"a program's fault", []line{{5, 0, "traps: bad[77] general protection fault ip:400500 sp:7ffe error:0 in bad[400000+1000]"}}, "", "", "", false},
		{"nothing", []line{{5, 0, "eth0: link up"}}, "", "", "", false},
	} {
		tr := troubles{last: make([]*Line, len(rules))}
		for i, l := range c.log {
			tr.look(&printk.Record{Seq: uint64(i), Timed: true, Time: time.Duration(l.sec) * time.Second, Facility: l.facility, Text: []byte(l.text)})
		}
		end := tr.end()
		if end == nil {
			end = &Line{}
		}
		cause := tr.cause(end)
		if cause == nil {
			cause = &Line{}
		}
		if end.Rule != c.rule || end.Text != c.panic || end.Fatal != c.fatal || cause.Text != c.cause {
			t.Errorf("%s: %+v after %+v", c.name, end, cause)
		}
	}
}

// TestTroublesAreBounded: a log may hold any number of such lines.
func TestTroublesAreBounded(t *testing.T) {
	tr := troubles{last: make([]*Line, len(rules))}
	for i := range 10 * keepTroubles {
		tr.look(&printk.Record{Seq: uint64(i), Text: []byte("BUG: soft lockup")})
	}
	if len(tr.all) != keepTroubles || tr.end().Seq != 10*keepTroubles-1 {
		t.Errorf("%d lines are kept, the last one is %+v", len(tr.all), tr.end())
	}
}
