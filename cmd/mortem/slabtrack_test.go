package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func TestSlabTracks(t *testing.T) {
	plant := fixtures.Truth(t, "main").Plant.Objects
	status, out, errs := mortem(t, append(onMain(t, "slab", "tracks"), "mortem_tracked")...)
	if status != exitAnswered || errs != "" {
		t.Errorf("status %d, %s", status, errs)
	}
	for _, want := range []string{fmt.Sprintf("%8d  mp_site_one", plant.TrackedSiteOne), fmt.Sprintf("%8d  mp_site_two", plant.TrackedSiteTwo), "tasks: 1 init", "entry_SYSCALL_64"} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	status, out, _ = mortem(t, append(onMain(t, "slab", "tracks"), "--json", "mortem_tracked")...)
	var r slab.TrackReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || len(r.Allocs) != 2 {
		t.Errorf("status %d, %v, %+v", status, err, r)
	}
	if status, _, errs := mortem(t, append(onMain(t, "slab", "tracks"), "dentry")...); status != exitUsage || !strings.Contains(errs, "slub_debug=U") {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestSlabTrace(t *testing.T) {
	plant := fixtures.Truth(t, "main").Plant.Objects
	status, out, errs := mortem(t, "slab", "trace", fixtures.Path(t, kerneltest.Main))
	if status != exitAnswered || errs != "" || !strings.Contains(out, fmt.Sprintf("%d pairs, %d not freed", plant.TracedPairs, plant.TracedLost)) ||
		!strings.Contains(out, "by 1 init") || !strings.Contains(out, plant.TracedLostFirst) {
		t.Errorf("status %d, %s, %s", status, errs, out)
	}
	status, out, _ = mortem(t, "slab", "trace", "--json", fixtures.Path(t, kerneltest.Main))
	var r slab.TraceReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || len(r.Caches) != 1 {
		t.Errorf("status %d, %v, %+v", status, err, r)
	}
}
