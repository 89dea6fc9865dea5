package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/slab"
)

func TestSlabKinds(t *testing.T) {
	status, out, errs := mortem(t, append(onMain(t, "slab", "kinds"), "mnt_cache")...)
	if status != exitAnswered || errs != "" || !strings.Contains(out, "100.0%  struct mount, such as 0x") ||
		!strings.Contains(out, "inferred: ") || !strings.Contains(out, "mnt_instance: 100% are in a list") {
		t.Errorf("status %d, %s, %s", status, errs, out)
	}
	status, out, _ = mortem(t, append(onMain(t, "slab", "kinds"), "--json", "--limit", "100", "net_namespace")...)
	var r slab.KindReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || r.Kinds[0].Types[0] != "struct net" || r.Method == "" {
		t.Errorf("status %d, %v, %+v", status, err, r)
	}
	if status, _, errs := mortem(t, append(onMain(t, "slab", "kinds"), "--limit", "-1", "dentry")...); status != exitUsage {
		t.Errorf("status %d, %s", status, errs)
	}
}
