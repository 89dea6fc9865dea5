package main

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/info"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// bytesMachine is a machine of the age of 2.6.32 that died of an oops.
func bytesMachine() *machine {
	m := newMachine("2.6.32-754.el6.x86_64")
	m.say("CRASHTIME=1583848800")
	m.byteLog("<5>[    0.000000] Linux version 2.6.32-754.el6.x86_64\n" +
		"<6>[    0.000000] Command line: ro root=/dev/sda1 crashkernel=128M\n" +
		"<30>[    9.500000] udev: starting version 147\n" +
		"<4>[  812.000001] a\ttab, an escape \x1b[31m and a backslash \\\n" +
		"<6>[86400.250000] SysRq : Trigger a crash\n" +
		"<1>[86400.250002] BUG: unable to handle kernel NULL pointer dereference at (null)\n" +
		"<4>[86400.250003] Oops: 0002 [#1] SMP \n" +
		"<0>[86400.250100] Kernel panic - not syncing: Fatal exception\n" +
		"<6>without a time\n")
	return m
}

// recordsMachine is a machine of the age of 5.4.
func recordsMachine() (m *machine, ring uint64, offsets []int) {
	m = newMachine("5.4.0")
	ring, offsets = m.recordLog([]logged{
		{0, 0, 5, 6, 0, "Linux version 5.4.0", ""},
		{1500 * time.Millisecond, 0, 6, 6, 1, "ahci 0000:00:1f.2: version 3.0", "SUBSYSTEM=pci\x00DEVICE=+pci:0000:00:1f.2"},
		{2 * time.Second, 0, 6, 4 | 8, 1, "ata1: ", ""},
		{2 * time.Second, 0, 6, 8, 1, "link up ", ""},
		{2 * time.Second, 0, 6, 2 | 8, 1, "6.0 Gbps", ""},
		{3 * time.Second, 3, 4, 6, 412, "systemd[1]: two\nlines", ""},
		{4 * time.Second, 0, 3, 6, 1<<31 | 2, "from an interrupt", ""},
		{12345678901 * time.Microsecond, 0, 7, 6, 99999, "last", ""},
	})
	return m, ring, offsets
}

func TestLog(t *testing.T) {
	old := bytesMachine().write(t)
	m, _, _ := recordsMachine()
	records := m.write(t)
	for _, tc := range []struct {
		golden string
		status int
		args   []string
	}{
		{"log-bytes.txt", exitAnswered, []string{old}},
		{"log-bytes-ctime.txt", exitAnswered, []string{"-T", old}},
		{"log-bytes-level.txt", exitAnswered, []string{"--level", "err+,notice", "-x", old}},
		{"log-records.txt", exitAnswered, []string{records}},
		{"log-records-all.txt", exitAnswered, []string{"-x", "--caller", "--dict", records}},
		{"log-records.txt", exitPartly, []string{"-T", records}}, // nothing tells the wall-clock time
	} {
		status, out, errs := mortem(t, append([]string{"log"}, tc.args...)...)
		if status != tc.status {
			t.Errorf("log %q: status %d: %s", tc.args, status, errs)
		}
		golden(t, tc.golden, out)
	}
	_, _, errs := mortem(t, "log", "-T", old)
	if !strings.Contains(errs, "inferred: boot at 2020-03-09 14:00:00") && !strings.Contains(errs, "CRASHTIME") {
		t.Errorf("-T says %q", errs)
	}
}

func TestLogJSON(t *testing.T) {
	m, _, _ := recordsMachine()
	status, out, errs := mortem(t, "log", "--json", m.write(t))
	var r info.LogReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered {
		t.Fatalf("status %d, %v: %s", status, err, errs)
	}
	if r.Records != 8 || len(r.Messages) != 8 || r.Form != "record ring" || r.Numbered || r.Wrapped {
		t.Errorf("%+v", r.Log)
	}
	if got := r.Messages[1]; got.Dict["SUBSYSTEM"] != "pci" || got.Caller != "T1" || got.Level != "info" || *got.Time != 1500000000 {
		t.Errorf("message 1 is %+v", got)
	}
	if !r.Messages[3].Continues || r.Messages[5].Facility != "daemon" || r.Messages[6].Caller != "C2" {
		t.Errorf("messages are %+v", r.Messages)
	}
	status, out, _ = mortem(t, "log", "--json", "-T", "--level", "emerg", bytesMachine().write(t))
	r = info.LogReport{}
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered {
		t.Fatal(status, err)
	}
	if len(r.Messages) != 1 || r.Messages[0].Wall == nil || r.Messages[0].Wall.Format(time.RFC3339) != "2020-03-10T14:00:00Z" || len(r.Clocks) != 1 || r.Clocks[0].Method != "CRASHTIME" {
		t.Errorf("%+v", r)
	}
}

// TestLogDamaged: what is lost is marked in its place, and the rest is printed.
func TestLogDamaged(t *testing.T) {
	m, ring, offsets := recordsMachine()
	page := m.mem[(ring-kernelMap)>>12]
	binary.LittleEndian.PutUint16(page[offsets[1]+8:], 8) // shorter than a header
	path := m.write(t)
	status, out, errs := mortem(t, "log", path)
	if status != exitPartly || !strings.Contains(errs, "1 damaged") {
		t.Errorf("status %d: %s", status, errs)
	}
	golden(t, "log-damaged.txt", out)
	status, out, _ = mortem(t, "log", "--json", path)
	var r info.LogReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitPartly {
		t.Fatal(status, err)
	}
	if len(r.Missing) != 1 || r.Missing[0].ByKernel || r.Missing[0].Bytes == 0 || *r.Missing[0].After != 0 {
		t.Errorf("missing: %+v", r.Missing)
	}
}

func TestLogUnusable(t *testing.T) {
	bad := newMachine("5.4.0")
	for _, tc := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"no dump", nil, exitUsage, "the dump is missing"},
		{"unknown level", []string{"--level", "loud", "x"}, exitUsage, `no level "loud"`},
		{"no VMCOREINFO", []string{bare(t)}, exitUnusable, "VMCOREINFO"},
		{"no log", []string{bad.write(t)}, exitUnusable, "the kernel log cannot be found"},
	} {
		status, _, errs := mortem(t, append([]string{"log"}, tc.args...)...)
		if status != tc.status || !strings.Contains(errs, tc.says) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: status %d: %q", tc.name, status, errs)
		}
	}
}

func TestInfo(t *testing.T) {
	m := bytesMachine()
	m.cfg.Notes = []dumpwriter.Note{dumpwriter.PRStatus(binary.LittleEndian, 64, 0, regs(0x10)), dumpwriter.PRStatus(binary.LittleEndian, 64, 4711, regs(0x33))}
	path := m.write(t)
	show := func(name string, args ...string) {
		t.Helper()
		status, out, errs := mortem(t, append(append([]string{"info"}, args...), path)...)
		if status != exitAnswered || errs != "" {
			t.Errorf("info %q: status %d: %s", args, status, errs)
		}
		golden(t, name, strings.ReplaceAll(out, path, "vmcore"))
	}
	show("info.txt")
	show("info-registers.txt", "--verify", "--registers")
	show("info-vmcoreinfo.txt", "--vmcoreinfo")
	status, out, _ := mortem(t, "info", "--json", "--no-pages", path)
	var r info.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered {
		t.Fatal(status, err)
	}
	if r.Pages != nil || r.Kernel.Hostname != "db7.example" || r.Crash.Panic.Rule != "panic" || r.Crash.Cause.Rule != "sysrq crash" ||
		r.Kernel.CommandLine != "ro root=/dev/sda1 crashkernel=128M" || len(r.CPUs) != 2 || r.CPUs[1].PID != 4711 || r.CPUs[1].Mode != "user" {
		t.Errorf("%+v", r)
	}
}

// regs are the registers of NT_PRSTATUS, each one its number, with a given cs.
func regs(cs uint64) []uint64 {
	all := make([]uint64, 27)
	for i := range all {
		all[i] = uint64(i)
	}
	all[17] = cs
	return all
}

// TestInfoWithoutNotes: a dump that says nothing about itself is no failure.
func TestInfoWithoutNotes(t *testing.T) {
	path := bare(t)
	status, out, errs := mortem(t, "info", path)
	if status != exitAnswered {
		t.Errorf("status %d: %s", status, errs)
	}
	golden(t, "info-bare.txt", strings.ReplaceAll(out, path, "vmcore"))
	if status, _, errs := mortem(t, "info", "--vmcoreinfo", path); status != exitUnusable || !strings.Contains(errs, "no VMCOREINFO") {
		t.Errorf("--vmcoreinfo: status %d: %s", status, errs)
	}
}

// TestInfoDamaged: --verify finds a page that does not unpack and says where in
// the file it is; a dump that is cut short is not complete.
func TestInfoDamaged(t *testing.T) {
	m := bytesMachine()
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(i * i >> 3 % 61)
	}
	m.place(noise)
	path := m.write(t)
	content := head(t, path, 1<<20)
	cut := write(t, "cut", content[:len(content)-100])
	if status, out, errs := mortem(t, "info", cut); status != exitPartly || !strings.Contains(out, "complete      no") {
		t.Errorf("cut short: status %d: %s%s", status, out, errs)
	}
	content[len(content)-200] ^= 0x55 // in the last page
	spoilt := write(t, "spoilt", content)
	if status, _, errs := mortem(t, "info", spoilt); status != exitAnswered {
		t.Errorf("before verification: status %d: %s", status, errs)
	}
	status, out, errs := mortem(t, "info", "--verify", "--json", spoilt)
	var r info.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitPartly {
		t.Fatalf("status %d, %v: %s", status, err, errs)
	}
	if p := r.Pages; p.Damaged != 1 || len(p.Bad) != 1 || p.Bad[0].Kind != "damaged" || p.Bad[0].File != spoilt ||
		p.Bad[0].Offset <= 0 || p.Bad[0].Offset > int64(len(content)-200) || uint64(p.Bad[0].Addr) != m.next-4096 {
		t.Errorf("%+v", p)
	}
}
