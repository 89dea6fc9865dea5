package printk

import (
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/kmortem/mortem/dump"
)

func list(records ...Record) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func said(at time.Duration, facility Facility, text string) Record {
	return Record{Time: at, Timed: true, Facility: facility, Text: []byte(text)}
}

func TestClocks(t *testing.T) {
	crash := time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC)
	kdump := &dump.Facts{Time: crash, VMCoreInfo: dump.ParseVMCoreInfo([]byte("OSRELEASE=6.1.0\nCRASHTIME=1715947200\n"))}
	header := &dump.Facts{Time: crash.Add(40 * time.Second)}
	last := said(3600*time.Second, FacilityKern, "---[ end Kernel panic - not syncing: sysrq triggered crash ]---")
	audit := said(1800*time.Second+500*time.Millisecond, FacilityKern, "audit: type=1400 audit(1715945400.503:77): apparmor=\"DENIED\"")
	rtc := said(2*time.Second, FacilityKern, "rtc_cmos 00:01: setting system clock to 2024-05-17T11:00:01 UTC (1715943601)")
	liar := said(10*time.Second, 1, "audit(1000000000.000:1): I say so")
	boot := crash.Add(-time.Hour)
	for _, c := range []struct {
		name    string
		facts   *dump.Facts
		log     []Record
		methods []Method
		boot    time.Time
	}{
		{"kdump", kdump, []Record{rtc, audit, liar, last}, []Method{MethodCrashTime, MethodAudit, MethodRTC}, boot},
		{"header", header, []Record{last}, []Method{MethodHeader}, boot.Add(40 * time.Second)},
		{"audit", &dump.Facts{}, []Record{rtc, audit, last}, []Method{MethodAudit, MethodRTC}, boot.Add(3 * time.Millisecond)},
		{"rtc", &dump.Facts{}, []Record{rtc, liar, last}, []Method{MethodRTC}, boot.Add(-time.Second)},
	} {
		clocks, err := Clocks(c.facts, list(c.log...))
		if err != nil || len(clocks) != len(c.methods) {
			t.Errorf("%s: %+v, %v", c.name, clocks, err)
			continue
		}
		for i, m := range c.methods {
			if clocks[i].Method != m {
				t.Errorf("%s: method %d is %s, want %s", c.name, i, clocks[i].Method, m)
			}
		}
		if !clocks[0].Boot.Equal(c.boot) {
			t.Errorf("%s: booted at %s, want %s", c.name, clocks[0].Boot, c.boot)
		}
		if at := clocks[0].Time(&last); !at.Equal(c.boot.Add(time.Hour)) {
			t.Errorf("%s: the last record is of %s", c.name, at)
		}
	}
	if _, err := Clocks(&dump.Facts{}, list(liar, last)); !errors.Is(err, ErrNoClock) {
		t.Errorf("without any source: %v", err)
	}
	if _, err := Clocks(kdump, list()); !errors.Is(err, ErrNoClock) {
		t.Errorf("of an empty log: %v", err)
	}
}
