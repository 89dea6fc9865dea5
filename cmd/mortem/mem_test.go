package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/mem"
)

func TestMem(t *testing.T) {
	status, out, errs := mortem(t, onMain(t, "mem")...)
	if status != exitAnswered || errs != "" {
		t.Errorf("status %d, %s", status, errs)
	}
	for _, want := range []string{"MemTotal:         492544 kB\n", "CommitLimit:      246272 kB\n", "explained by no counter",
		"NODE  ZONE", "1     DMA32", "kernel_clone", "/mortem/mem  "} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	status, out, _ = mortem(t, append(onMain(t, "mem"), "--json")...)
	var r mem.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || r.Info.MemTotal != 492544<<10 ||
		len(r.Vmalloc) < 10 || len(r.Nodes) != 2 {
		t.Errorf("status %d, %v, %+v", status, err, r.Info)
	}
	if status, _, errs := mortem(t, append(onMain(t, "mem"), "--top", "-1")...); status != exitUsage {
		t.Errorf("status %d, %s", status, errs)
	}
	if status, _, _ := mortem(t, "mem"); status != exitUsage {
		t.Errorf("no dump: status %d", status)
	}
}
