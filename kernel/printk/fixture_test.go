package printk_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/printk"
)

// openLog opens the log in a dump file.
func openLog(t testing.TB, path string) *printk.Log {
	t.Helper()
	img, err := dump.Open([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() }) // opened for reading only
	m, err := kernel.OpenMemory(img)
	if err != nil {
		t.Fatal(err)
	}
	log, err := printk.Open(m)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// TestGuestsOwnLog compares the log in a dump with what the guest read from its
// /dev/kmsg before: each record, with all that the kernel tells about it.
func TestGuestsOwnLog(t *testing.T) {
	t.Run("main", func(t *testing.T) {
		compare(t, fixtures.Path(t, "main/vmcore.kdump"), fixtures.Truth(t, "main").Kmsg)
	})
	t.Run("kdump", func(t *testing.T) {
		compare(t, fixtures.Unpacked(t, "kdump/vmcore.kdump"), fixtures.Truth(t, "kdump").Kmsg)
	})
	t.Run("small", func(t *testing.T) {
		compare(t, fixtures.OnDemand(t, "small/vmcore.elf"), fixtures.OnDemandTruth(t, "small").Kmsg)
	})
}

func compare(t *testing.T, path string, guest []string) {
	if len(guest) == 0 {
		t.Fatal("the guest has no log")
	}
	log := openLog(t, path)
	bySeq := map[uint64]string{}
	for r, err := range log.Records() {
		if err != nil {
			t.Error(err)
			continue
		}
		bySeq[r.Seq] = kmsg(&r)
	}
	bad := 0
	for _, want := range guest {
		want = strings.TrimSuffix(want, "\n")
		seq, err := strconv.ParseUint(strings.Split(want, ",")[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := bySeq[seq]; got != want {
			if bad++; bad < 5 {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		}
	}
	if bad > 0 || !log.Numbered() || log.Wrapped() || log.Form() != printk.FormRing {
		t.Errorf("%d of %d records differ; numbered: %v, wrapped: %v, form: %s", bad, len(guest), log.Numbered(), log.Wrapped(), log.Form())
	}
}

// kmsg is a record as /dev/kmsg gives it (Documentation/ABI/testing/dev-kmsg).
func kmsg(r *printk.Record) string {
	flag := "-"
	if r.Flags&printk.FlagCont != 0 {
		flag = "c"
	}
	s := fmt.Sprintf("%d,%d,%d,%s,caller=%s;%s", int(r.Facility)<<3|int(r.Level), r.Seq, r.Time/time.Microsecond, flag, r.Caller, kmsgEscape(r.Text))
	for _, p := range r.Dict {
		s += "\n " + p.Key + "=" + kmsgEscape(p.Value)
	}
	return s
}

func kmsgEscape(text []byte) string {
	var s strings.Builder
	for _, c := range text {
		if c < ' ' || c >= 127 || c == '\\' {
			fmt.Fprintf(&s, "\\x%02x", c)
			continue
		}
		s.WriteByte(c)
	}
	return s.String()
}

func BenchmarkRecords(b *testing.B) {
	log := openLog(b, fixtures.Path(b, "main/vmcore.kdump"))
	records, bytes := 0, 0
	for b.Loop() {
		for r, err := range log.Records() {
			if err == nil {
				records++
				bytes += len(r.Text)
			}
		}
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(bytes)/b.Elapsed().Seconds(), "bytes/s")
}
