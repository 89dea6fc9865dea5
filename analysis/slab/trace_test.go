package slab_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/printk"
)

// lines are the lines of the log in the dump Main.
func lines(t *testing.T) func(yield func(string) bool) {
	t.Helper()
	log, err := printk.OpenKernel(kerneltest.MainFS(t).Kernel())
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(string) bool) {
		for rec, err := range log.Records() {
			if err != nil {
				t.Error(err)
				continue
			}
			for line := range rec.Lines() {
				if !yield(line) {
					return
				}
			}
		}
	}
}

// The module took objects of a traced cache and freed them again, and lost some.
func TestTrace(t *testing.T) {
	plant := fixtures.Truth(t, "main").Plant.Objects
	r := slab.ReadTrace(lines(t))
	if len(r.Caches) != 1 {
		t.Fatalf("%+v", r)
	}
	c := r.Caches[0]
	if c.Cache != "mortem_traced" || c.Paired != uint64(plant.TracedPairs) || c.Frees != c.Paired || c.Before != 0 ||
		c.Allocs != uint64(plant.TracedPairs+plant.TracedLost) || len(c.Unfreed) != plant.TracedLost {
		t.Errorf("%+v", c)
	}
	for _, want := range []string{plant.TracedLostFirst, plant.TracedLostLast} {
		if !slices.Contains(c.Unfreed, hex(t, want)) {
			t.Errorf("%s is not among the unfreed %v", want, c.Unfreed)
		}
	}
	total := uint64(0)
	for _, s := range c.Sites {
		total += s.Count
		if s.PID != 1 || s.Comm != "init" || !slices.Contains(s.Stack, "mp_slab_traced [mortem_plant]") || slices.Contains(s.Stack, "dump_stack_lvl") {
			t.Errorf("%+v", s)
		}
	}
	if total != c.Allocs+c.Frees {
		t.Errorf("%d events at sites, %d in all", total, c.Allocs+c.Frees)
	}
}

// The lines of case 3, as a kernel 3.10 writes them, with those of another processor
// among them.
const journald = `TRACE dentry alloc 0xffff88001ac16240 inuse=21 fp=0x          (null)
CPU: 3 PID: 605 Comm: systemd-journal Not tainted 3.10.0-123.el7.x86_64 #1
Hardware name: VMware, Inc.
 ffffea00006b0580 000000008e8a8e1a ffff88003d263c58 ffffffff815e19ba
Call Trace:
 [<ffffffff815e19ba>] dump_stack+0x19/0x1b
 [<ffffffff815deb8d>] alloc_debug_processing+0xd3/0x118
 [<ffffffff811c9da5>] ? __d_alloc+0x25/0x180
 [<ffffffff811c9f20>] d_alloc+0x20/0x70
 [<ffffffff811bb0d1>] lookup_dcache+0xa1/0xd0
 [<ffffffff811b0c52>] sys_access+0x22/0x30
TRACE dentry free 0xffff88001ac16240 inuse=7 fp=0xffff88001ac160c0
CPU: 3 PID: 605 Comm: systemd-journal Not tainted 3.10.0-123.el7.x86_64 #1
Call Trace:
 [<ffffffff815e19ba>] dump_stack+0x19/0x1b
 [<ffffffff811c8a5d>] d_free+0x4d/0x60
usb 1-1: new device
TRACE dentry free 0xffff88001ac10000 inuse=7 fp=0xffff88001ac160c0
Pid: 7, comm: old one Not tainted 2.6.32
Call Trace:
 [<ffffffff811c8a5d>] d_free+0x4d/0x60
`

func TestTraceOld(t *testing.T) {
	trimmed := func(yield func(string) bool) {
		for line := range strings.Lines(journald) {
			if !yield(strings.TrimSuffix(line, "\n")) {
				return
			}
		}
	}
	r := slab.ReadTrace(trimmed)
	if len(r.Caches) != 1 {
		t.Fatalf("%+v", r)
	}
	c := r.Caches[0]
	if c.Cache != "dentry" || c.Allocs != 1 || c.Frees != 2 || c.Paired != 1 || c.Before != 1 || len(c.Unfreed) != 0 || len(c.Sites) != 3 {
		t.Errorf("%+v", c)
	}
	for _, s := range c.Sites {
		if s.Event == "alloc" && (fmt.Sprint(s.Stack) != "[d_alloc lookup_dcache sys_access]" || s.Comm != "systemd-journal" || s.PID != 605) {
			t.Errorf("%+v", s)
		}
		if s.PID == 7 && (s.Comm != "old one" || s.Paired != 0) {
			t.Errorf("%+v", s)
		}
	}
}
