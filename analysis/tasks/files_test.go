package tasks_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/tasks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestFilesAreCrashs compares the open files of the task that panicked with what crash's
// files prints: the addresses, the type and the path, which crash has not of pipes.
func TestFilesAreCrashs(t *testing.T) {
	text, err := os.ReadFile(fixtures.Unpacked(t, "kdump/crash.txt"))
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)PID: (\d+) [^\n]*\nROOT: [^\n]*\n FD +FILE [^\n]*\n(.*?)\n\n`).FindStringSubmatch(string(text))
	if table == nil {
		t.Fatal("crash has found no open files")
	}
	pid, _ := strconv.ParseInt(table[1], 10, 32)
	r, err := tasks.Analyze(t.Context(), kerneltest.FS(t, fixtures.Unpacked(t, "kdump/vmcore.kdump")), tasks.Options{PIDs: []int32{int32(pid)}, Files: true})
	if err != nil || len(r.Tasks) != 1 || !r.Coverage.Complete() {
		t.Fatalf("%v, %+v", err, r)
	}
	types := map[string]string{"FIFO": "fifo", "CHR": "character device", "REG": "regular file", "UNKN": "none"}
	lines := strings.Split(table[2], "\n")
	if len(lines) < 6 || len(lines) != len(r.Tasks[0].Files) {
		t.Fatalf("%d files, crash has %d", len(r.Tasks[0].Files), len(lines))
	}
	for i, line := range lines {
		f, words := r.Tasks[0].Files[i], strings.Fields(line)
		addr := func(i int) kernel.Addr {
			n, _ := strconv.ParseUint(words[i], 16, 64)
			return kernel.Addr(n)
		}
		path := strings.Join(words[5:], " ")
		if strconv.Itoa(f.FD) != words[0] || f.Addr != addr(1) || f.Dentry != addr(2) || f.Inode != addr(3) || f.Type != types[words[4]] || !strings.HasSuffix(f.Path, path) {
			t.Errorf("%+v, crash %s", f, line)
		}
	}
}
