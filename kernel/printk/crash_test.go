package printk_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/fixtures"
)

// crashLog is what crash 8.0.2 prints of the dump of the boot main by "log -dm":
// each record with its level, and its dictionary in lines of their own. After a
// new capture, record it again by running this test with MORTEM_CRASH_VMLINUX set
// to the vmlinux with text and debug information that the capture left behind.
const crashLog = "testdata/main-crash-log.txt.gz"

func TestLogBesideCrash(t *testing.T) {
	path := fixtures.Path(t, "main/vmcore.kdump")
	if vmlinux := os.Getenv("MORTEM_CRASH_VMLINUX"); vmlinux != "" {
		recordCrash(t, vmlinux, path)
	}
	want := strings.Split(unzip(t, crashLog), "\n")
	var got []string
	for r, err := range openLog(t, path).Records() {
		if err != nil {
			t.Error(err)
			continue
		}
		text := fmt.Sprintf("[%5d.%06d] <%d>%s", r.Time/time.Second, r.Time%time.Second/time.Microsecond, r.Level, r.Text)
		for _, p := range r.Dict {
			text += "\n" + p.Key + "=" + string(p.Value)
		}
		got = append(got, strings.Split(text, "\n")...)
	}
	for i := range min(len(got), len(want)) {
		// crash indents what follows the first line of a record.
		if strings.TrimLeft(got[i], " ") != strings.TrimLeft(want[i], " ") {
			t.Fatalf("line %d is %q, crash has %q", i+1, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines, crash has %d", len(got), len(want))
	}
}

func unzip(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // opened for reading only
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func recordCrash(t *testing.T, vmlinux, dump string) {
	t.Helper()
	c := exec.Command("crash", "-s", vmlinux, dump)
	c.Stdin = strings.NewReader("log -dm\nquit\n")
	said, err := c.Output()
	if err != nil {
		t.Fatalf("crash: %v: %s", err, said)
	}
	_, log, found := bytes.Cut(said, []byte("[    0.000000] "))
	if !found {
		t.Fatalf("crash printed no log: %s", said)
	}
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if _, err := io.WriteString(z, "[    0.000000] "+strings.TrimRight(string(log), "\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(crashLog, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
