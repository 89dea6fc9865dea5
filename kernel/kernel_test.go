package kernel_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/recorded"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func hex(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAddressesAreTheGuests compares addresses with the guest's /proc/kallsyms
// and with drgn: KASLR of the image and of the direct mapping is undone.
func TestAddressesAreTheGuests(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	truth := fixtures.Truth(t, "main")
	compared := 0
	for name, addr := range truth.Symbols {
		got, err := k.Symbol(name)
		if err != nil {
			continue // a symbol of a module, or one that vmlinux leaves out
		}
		compared++
		if got != hex(t, addr) {
			t.Errorf("%s is at %#x; the guest says %s", name, got, addr)
		}
	}
	if compared < 20 {
		t.Errorf("only %d symbols of the guest's were found", compared)
	}
	var drgn recorded.Drgn
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	if base, ok := k.PageOffset(); !ok || base != hex(t, drgn.Facts.PageOffset) {
		t.Errorf("the direct mapping starts at %#x, %v; drgn: %s", base, ok, drgn.Facts.PageOffset)
	}
	if k.Offset() == 0 {
		t.Error("the guest runs with KASLR, and the offset is 0")
	}
	if want := "Linux version " + truth.Uname["release"] + " "; !strings.HasPrefix(k.Banner(), want) {
		t.Errorf("banner %q; want %q…", k.Banner(), want)
	}
}

func TestSymbolNames(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	addr, err := k.Symbol("d_lookup")
	if err != nil {
		t.Fatal(err)
	}
	sym, ok := k.Info().Symbols().Lookup("d_lookup")
	if !ok || sym.Size == 0 {
		t.Fatalf("d_lookup: %+v", sym)
	}
	for at, want := range map[uint64]string{
		addr:               "d_lookup",
		addr + 0x1a:        fmt.Sprintf("d_lookup+0x1a/%#x", sym.Size),
		0x1234:             "0x1234",
		0xffff888000000000: "0xffff888000000000",
	} {
		if got := k.SymbolName(at); got != want {
			t.Errorf("%#x is named %s; want %s", at, got, want)
		}
	}
}

// TestReadErrors: what is not there is an error that says why.
func TestReadErrors(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	base, _ := k.PageOffset()
	var buf [8]byte
	for name, addr := range map[string]uint64{
		"unmapped":      0x10,
		"non-canonical": 0x0123456789abcdef,
		"beyond memory": base + 1<<45,
	} {
		n, err := k.Read(buf[:], addr)
		var re *kernel.ReadError
		if n != 0 || !errors.As(err, &re) || re.Addr != addr {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	// Free pages were filtered out: one of them is somewhere.
	excluded := 0
	for pa := uint64(1 << 20); pa < k.Image().Facts().MaxPhys; pa += k.PageSize() {
		if _, err := k.Read(buf[:], base+pa); errors.Is(err, dump.ErrExcluded) {
			excluded++
		}
	}
	if excluded == 0 {
		t.Error("no page of a dump filtered with -d 31 is excluded")
	}
}

type taskLayout struct {
	kernel.Layout `kernel:"struct task_struct"`
	PID           kernel.I32   `kernel:"pid"`
	Comm          kernel.Bytes `kernel:"comm"`
	Flags         kernel.Uint  `kernel:"flags"`
	Sibling       kernel.Offset
	InExec        kernel.Uint `kernel:"in_execve"`
	Nothing       kernel.U64  `kernel:"no_such_member,optional"`
	Either        kernel.U64  `kernel:"no_such_member|mm"`
}

func TestResolve(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	var l taskLayout
	if err := k.Resolve(&l); err != nil {
		t.Fatal(err)
	}
	if l.Nothing.Has() || !l.Either.Has() || l.Either.Path() != "mm" || l.Span() >= l.Size() || l.Span() < int(l.Comm.Offset())+16 {
		t.Errorf("%+v", l)
	}
	addr, err := k.Symbol("init_task")
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		t.Fatal(err)
	}
	if l.PID.Get(b) != 0 || string(l.Comm.Get(b)[:9]) != "swapper/0" || l.InExec.Get(b) != 0 || l.Either.Get(b) != 0 {
		t.Errorf("init_task: pid %d, comm %q, in_execve %d, mm %#x", l.PID.Get(b), l.Comm.Get(b), l.InExec.Get(b), l.Either.Get(b))
	}
	var missing struct {
		kernel.Layout `kernel:"struct no_such_thing"`
	}
	if err := k.Resolve(&missing); !errors.Is(err, kernel.ErrNotFound) {
		t.Errorf("a type that is not there: %v", err)
	}
	var wide struct {
		kernel.Layout `kernel:"struct task_struct"`
		PID           kernel.U64 `kernel:"pid"`
	}
	if err := k.Resolve(&wide); err == nil {
		t.Error("an int was taken for 8 bytes")
	}
}

func TestObjects(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	truth := fixtures.Truth(t, "main")
	release, err := k.Object("init_uts_ns").Field("name.release").Text()
	if err != nil || release != truth.Uname["release"] {
		t.Errorf("release %q, %v; the guest says %q", release, err, truth.Uname["release"])
	}
	id, err := k.Object("init_task").Field("nsproxy").Field("net_ns").Field("ns.inum").Uint()
	if err != nil || id != truth.Nets.Init {
		t.Errorf("init_net has inode number %d, %v; the guest says %d", id, err, truth.Nets.Init)
	}
	for name, o := range map[string]*kernel.Object{
		"a variable that is not there": k.Object("no_such_variable"),
		"a member that is not there":   k.Object("init_task").Field("no_such_member").Field("more"),
		"an index beyond the array":    k.Object("init_task").Field("comm").Index(16),
		"a dereference of a number":    k.Object("init_task").Field("pid").Deref(),
	} {
		if o.Err() == nil {
			t.Errorf("%s gives no error", name)
		}
		if _, err := o.Uint(); err == nil {
			t.Errorf("%s has a value", name)
		}
	}
}

func ExampleOpen() {
	image, err := dump.Open([]string{"../fixtures/data/main/vmcore.kdump"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer image.Close()
	info, err := debuginfo.Open("../fixtures/data/vmlinux.xz")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer info.Close()
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	comm, err := k.Object("init_task").Field("comm").Text()
	fmt.Println(comm, err)
	// Output: swapper/0 <nil>
}
