package info_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/info"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/printk"
)

func analyze(t testing.TB, path string, opt info.Options) *info.Report {
	t.Helper()
	img, err := dump.Open([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = img.Close() }() // opened for reading only
	r, err := info.Analyze(context.Background(), img, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkGuest compares what a dump tells with what the guest knew about itself.
func checkGuest(t *testing.T, r *info.Report, guest *truth.Truth) {
	t.Helper()
	checkNames(t, r, guest)
	if r.Kernel.CommandLine != guest.Cmdline {
		t.Errorf("command line %q, the guest says %q", r.Kernel.CommandLine, guest.Cmdline)
	}
	if r.Log == nil || r.Log.Records < uint64(len(guest.Kmsg)) || r.Log.Gaps != 0 || r.Log.Wrapped {
		t.Errorf("log %+v, the guest has %d records", r.Log, len(guest.Kmsg))
	}
	if r.Partly() || !r.Complete || len(r.Warnings) > 0 || len(r.Coverage.Problems) > 0 {
		t.Errorf("not whole: %+v %+v", r.Warnings, r.Coverage)
	}
	p := r.Pages
	codecs := uint64(0)
	for _, n := range p.Codecs {
		codecs += n
	}
	if p.Missing+p.Damaged > 0 || p.Present*r.PageSize < r.Memory.Present || p.Codecs != nil && codecs != p.Present {
		t.Errorf("pages %+v of %d bytes", p, r.Memory.Present)
	}
}

func checkNames(t *testing.T, r *info.Report, guest *truth.Truth) {
	t.Helper()
	for what, pair := range map[string][2]string{
		"sysname":   {r.Kernel.Sysname, guest.Uname["sysname"]},
		"release":   {r.Kernel.Release, guest.Uname["release"]},
		"version":   {r.Kernel.Version, guest.Uname["version"]},
		"machine":   {r.Kernel.Machine, guest.Uname["machine"]},
		"host name": {r.Kernel.Hostname, guest.Uname["nodename"]},
	} {
		if pair[0] != pair[1] || pair[0] == "" {
			t.Errorf("%s is %q, the guest says %q", what, pair[0], pair[1])
		}
	}
	if len(r.CPUs) != guest.CPUs {
		t.Errorf("%d processors, the guest has %d", len(r.CPUs), guest.CPUs)
	}
}

// TestELF: QEMU's ELF files have neither names nor dump level; the names come
// from the guest's memory. In this one the log's memory is zero.
func TestELF(t *testing.T) {
	r := analyze(t, fixtures.Unpacked(t, "cut/qemu.elf"), info.Options{})
	checkNames(t, r, fixtures.Truth(t, "small"))
	if r.Kernel.From != "memory" || r.Memory.DumpLevel != nil || r.Pages.Excluded != 0 || r.Format != "ELF vmcore" || r.Crash.Time != nil {
		t.Errorf("%+v", r)
	}
	if r.Log != nil && r.Log.Records > 0 || !r.Partly() {
		t.Errorf("log %+v, %q", r.Log, r.LogError)
	}
}

// TestFiltered: the names come from makedumpfile's header.
func TestFiltered(t *testing.T) {
	r := analyze(t, fixtures.Path(t, "main/vmcore.kdump"), info.Options{Verify: 2})
	checkGuest(t, r, fixtures.Truth(t, "main"))
	if r.Kernel.From != "header" || r.Memory.DumpLevel == nil || *r.Memory.DumpLevel != 31 || len(r.Memory.Filtered) != 5 || r.Pages.Excluded == 0 || !r.Pages.Verified {
		t.Errorf("%+v", r)
	}
	if p := r.Crash.Panic; p == nil || p.Rule != "soft lockup" || p.Fatal {
		t.Errorf("the guest did not die, but was locked up: %+v", p)
	}
}

// TestRegisters compares the processors with QEMU's own "info registers".
func TestRegisters(t *testing.T) {
	r := analyze(t, fixtures.Path(t, "main/vmcore.kdump"), info.Options{SkipPages: true})
	text, err := os.ReadFile(fixtures.Path(t, "main/registers.txt"))
	if err != nil {
		t.Fatal(err)
	}
	cpus := strings.Split(string(text), "CPU#")[1:]
	if len(cpus) != len(r.CPUs) {
		t.Fatalf("%d processors, QEMU has %d", len(r.CPUs), len(cpus))
	}
	for i := range r.CPUs {
		for name, called := range map[string]string{"ip": "RIP", "sp": "RSP", "ax": "RAX", "bx": "RBX", "r8": "R8 ", "r15": "R15", "cr2": "CR2", "cr3": "CR3"} {
			_, rest, found := strings.Cut(cpus[i], called+"=")
			if !found {
				t.Fatalf("QEMU does not tell %s", called)
			}
			want, err := strconv.ParseUint(rest[:16], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := r.CPUs[i].Register(name); !ok || uint64(got) != want {
				t.Errorf("%s of processor %d is %s, QEMU says %#x", name, i, got, want)
			}
		}
		user := strings.Contains(cpus[i], "CPL=3")
		if mode := r.CPUs[i].Mode; mode != map[bool]string{true: "user", false: "kernel"}[user] {
			t.Errorf("processor %d is in mode %s", i, mode)
		}
	}
}

// TestKdump: a machine that really crashed, dumped by its second kernel.
func TestKdump(t *testing.T) {
	guest := fixtures.Truth(t, "kdump")
	r := analyze(t, fixtures.Unpacked(t, "kdump/vmcore.kdump"), info.Options{})
	checkGuest(t, r, guest)
	c := &r.Crash
	if c.Panic == nil || c.Panic.Text != "Kernel panic - not syncing: sysrq triggered crash" || c.Panic.Rule != "panic" ||
		c.Cause == nil || c.Cause.Rule != "sysrq crash" {
		t.Errorf("ended by %+v after %+v", c.Panic, c.Cause)
	}
	if c.Time == nil || c.TimeFrom != "CRASHTIME" || math.Abs(c.Time.Sub(wall(guest)).Minutes()) > 2 {
		t.Errorf("crashed at %v by %s, the guest's facts are of %v", c.Time, c.TimeFrom, wall(guest))
	}
	if c.Boot == nil || c.Boot.Method != "CRASHTIME" {
		t.Fatalf("booted %+v", c.Boot)
	}
	// The kernel's own word has whole seconds, and the log's clock begins some
	// milliseconds after the others.
	const slack = 1500 * time.Millisecond
	btime := bootTime(t, guest)
	early, late := c.Boot.Time.Add(-time.Duration(c.Boot.Early)-slack), c.Boot.Time.Add(time.Duration(c.Boot.Late)+slack)
	if btime.Before(early) || btime.After(late) {
		t.Errorf("booted at %v, the guest says %v", c.Boot.Time, btime)
	}
}

// bootTime is btime of the guest's /proc/stat.
func bootTime(t *testing.T, guest *truth.Truth) time.Time {
	t.Helper()
	for line := range strings.Lines(guest.Late["/proc/stat"]) {
		if text, ok := strings.CutPrefix(line, "btime "); ok {
			sec, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Unix(sec, 0).UTC()
		}
	}
	t.Fatal("the guest does not say when it was booted")
	return time.Time{}
}

// metered is a file that tells what reading it has cost.
type metered struct {
	*os.File
	bytes, requests atomic.Int64
}

func (m *metered) ReadAt(p []byte, off int64) (int, error) {
	m.bytes.Add(int64(len(p)))
	m.requests.Add(1)
	return m.File.ReadAt(p, off)
}

func (m *metered) Moved() (bytes, requests int64) { return m.bytes.Load(), m.requests.Load() }

// TestRemote: of a remote dump the report says what it cost, and that is a small
// part of the dump.
func TestRemote(t *testing.T) {
	f, err := os.Open(fixtures.Path(t, "main/vmcore.kdump"))
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	img, err := dump.OpenSources([]dump.Source{{Name: "remote", Size: st.Size(), ReaderAt: &metered{File: f}, Closer: f}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = img.Close() }() // opened for reading only
	r, err := info.Analyze(context.Background(), img, info.Options{SkipPages: true})
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Moved; m == nil || m.Requests == 0 || m.Bytes == 0 || m.Bytes > st.Size()/10 {
		t.Errorf("moved %+v of %d bytes", m, st.Size())
	}
}

func wall(guest *truth.Truth) time.Time {
	return time.UnixMilli(int64(guest.Time * 1000)).UTC()
}

func ExampleAnalyze() {
	img, err := dump.Open([]string{"../../fixtures/data/kdump/vmcore.kdump.xz"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer img.Close()
	r, err := info.Analyze(context.Background(), img, info.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Arch, r.Kernel.Hostname)
	fmt.Println(r.Crash.Panic.Text)
	fmt.Println("whole:", !r.Partly())
	// Output:
	// x86_64 mortem-guest
	// Kernel panic - not syncing: sysrq triggered crash
	// whole: true
}

func ExampleCollectLog() {
	img, err := dump.Open([]string{"../../fixtures/data/kdump/vmcore.kdump.xz"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer img.Close()
	m, err := kernel.OpenMemory(img)
	if err != nil {
		fmt.Println(err)
		return
	}
	log, err := printk.Open(m)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := info.CollectLog(img.Facts(), log, info.LogOptions{
		Keep: func(r *printk.Record) bool { return bytes.HasPrefix(r.Text, []byte("Kernel panic")) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range r.Messages {
		fmt.Println(m.Facility, m.Level, m.Text)
	}
	// Output: kern emerg Kernel panic - not syncing: sysrq triggered crash
}

// A reader of the log by itself counts what is lost as CollectLog does: what the kernel
// threw away itself is no fault of the dump.
func ExampleLost() {
	var cover kernel.Coverage
	info.Lost(&cover, &printk.LostError{Records: 3, Err: printk.ErrOverwritten})
	fmt.Println("complete:", cover.Complete())
	info.Lost(&cover, &printk.LostError{Bytes: 4096, Err: dump.ErrExcluded})
	fmt.Println("complete:", cover.Complete())
	// Output:
	// complete: true
	// complete: false
}
