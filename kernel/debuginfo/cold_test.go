package debuginfo_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

// In a process of its own, opening can be measured as a whole: CPU time of all
// threads, and the most memory that it took, mapped files included.
const childVariable = "MORTEM_TEST_OPEN"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		if err := openOnce(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// openOnce opens debug information and reads the members of one struct.
func openOnce(path string) error {
	var opts []debuginfo.Option
	if os.Getenv("MORTEM_TEST_CACHE") == "" {
		opts = append(opts, debuginfo.NoCache())
	} else {
		opts = append(opts, debuginfo.CacheDir(os.Getenv("MORTEM_TEST_CACHE")))
	}
	src, err := debuginfo.Open(path, opts...)
	if err != nil {
		return err
	}
	defer src.Close()
	t, err := src.Type("struct dentry")
	if err != nil {
		return err
	}
	_, err = t.Field("d_name.hash")
	return err
}

// cost is what a process took.
type cost struct {
	cpu    time.Duration
	wall   time.Duration
	memory int64 // most bytes resident at a time
}

// measure runs a command to its end.
func measure(t testing.TB, cmd *exec.Cmd) cost {
	t.Helper()
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%v: %v\n%s", cmd, err, out)
	}
	state := cmd.ProcessState
	return cost{state.UserTime() + state.SystemTime(), time.Since(start), maxResident(state)}
}

func openCommand(path, cache string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+path, "MORTEM_TEST_CACHE="+cache)
	return cmd
}

// drgnScript does the same work in drgn.
const drgnScript = `
import sys, drgn
p = drgn.Program()
p.load_debug_info([sys.argv[1]])
t = p.type('struct dentry')
print([m.name for m in t.members])
`

func drgnCommand(t testing.TB, path string) *exec.Cmd {
	t.Helper()
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import drgn").Run(); err != nil {
		t.Skip("drgn, which is measured beside, is not installed")
	}
	return exec.Command(python, "-c", drgnScript, path)
}

// BenchmarkColdProcess is what a whole process takes from nothing to the first
// type: without an index file, with one, and drgn's.
func BenchmarkColdProcess(b *testing.B) {
	path := vmlinux(b)
	cache := b.TempDir()
	measure(b, openCommand(path, cache))
	for name, command := range map[string]func() *exec.Cmd{
		"scan":  func() *exec.Cmd { return openCommand(path, "") },
		"index": func() *exec.Cmd { return openCommand(path, cache) },
		"drgn":  func() *exec.Cmd { return drgnCommand(b, path) },
	} {
		b.Run(name, func(b *testing.B) {
			var sum cost
			n := 0
			for b.Loop() {
				c := measure(b, command())
				sum.cpu += c.cpu
				sum.memory = max(sum.memory, c.memory)
				n++
			}
			b.ReportMetric(float64(sum.cpu.Milliseconds())/float64(n), "cpu-ms/op")
			b.ReportMetric(float64(sum.memory)/(1<<20), "resident-MB")
		})
	}
}

// On a distribution's vmlinux a cold opening takes at most the CPU time of
// drgn's and half of its memory, and with an index file 50 ms and 60 MB. The
// best of several runs counts, for the machine may be busy.
func TestColdOpenBesideDrgn(t *testing.T) {
	path := os.Getenv("MORTEM_TEST_VMLINUX")
	if path == "" || testing.Short() {
		t.Skip("a measurement beside drgn, of the vmlinux that MORTEM_TEST_VMLINUX names: see testdata/fetch-debian")
	}
	cache := t.TempDir()
	measure(t, openCommand(path, cache))
	best := func(command func() *exec.Cmd) cost {
		b := measure(t, command())
		for range 4 {
			c := measure(t, command())
			b.cpu, b.memory = min(b.cpu, c.cpu), min(b.memory, c.memory)
		}
		return b
	}
	scan := best(func() *exec.Cmd { return openCommand(path, "") })
	index := best(func() *exec.Cmd { return openCommand(path, cache) })
	drgn := best(func() *exec.Cmd { return drgnCommand(t, path) })
	t.Logf("scan %v %d MB; index %v %d MB; drgn %v %d MB", scan.cpu, scan.memory>>20, index.cpu, index.memory>>20, drgn.cpu, drgn.memory>>20)
	if scan.cpu > drgn.cpu || scan.memory > drgn.memory/2 {
		t.Error("a cold opening takes more than drgn's CPU time or half of its memory")
	}
	if index.cpu > 50*time.Millisecond || index.memory > 60<<20 {
		t.Error("opening with an index file takes more than 50 ms or 60 MB")
	}
}
