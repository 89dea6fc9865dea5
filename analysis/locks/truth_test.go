package locks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/vfs"
)

// boots are the dumps, with what their guests knew.
var boots = []struct{ name, dump string }{
	{"main", kerneltest.Main}, {"small", ""}, {"kdump", "kdump/vmcore.kdump"},
}

func open(t *testing.T, boot, dump string) (*vfs.FS, *truth.Truth) {
	t.Helper()
	switch {
	case dump == "": // only the small boot's whole memory has stacks, and belongs to another truth
		return kerneltest.FS(t, fixtures.OnDemand(t, boot+"/vmcore.elf")), fixtures.OnDemandTruth(t, boot)
	case dump == kerneltest.Main:
		return kerneltest.MainFS(t), fixtures.Truth(t, boot)
	}
	return kerneltest.FS(t, fixtures.Unpacked(t, dump)), fixtures.Truth(t, boot)
}

func analyze(t *testing.T, fs *vfs.FS, opt locks.Options) *locks.Report {
	t.Helper()
	r, err := locks.Analyze(context.Background(), fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func address(t *testing.T, s string) kernel.Addr {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kernel.Addr(n)
}

// guest is what the guest knew of who waits for what: by address of the lock, and by
// thread id.
type guest struct {
	holders map[kernel.Addr][]int32
	waiters map[kernel.Addr][]int32
	role    map[string][]truth.Player
}

// guestOf puts the module's players and the situations of user space together.
func guestOf(t *testing.T, facts *truth.Truth) *guest {
	t.Helper()
	g := &guest{map[kernel.Addr][]int32{}, map[kernel.Addr][]int32{}, map[string][]truth.Player{}}
	for _, p := range facts.Plant.Players {
		g.role[p.Role] = append(g.role[p.Role], p)
		if at := address(t, p.Holds); at != 0 && p.State != "done" {
			g.holders[at] = append(g.holders[at], int32(p.Tid))
		}
		if at := address(t, p.Waits); at != 0 {
			g.waiters[at] = append(g.waiters[at], int32(p.Tid))
		}
	}
	// fixtures/README.md: the one that holds the spinlock holds this mutex too.
	for _, l := range facts.Plant.Locks {
		if l.Name == "mp_busy" && len(g.role["busy.wait"]) > 0 {
			g.holders[address(t, l.Address)] = []int32{int32(g.role["spin.hold"][0].Tid)}
		}
	}
	for _, s := range facts.Situations {
		if held := g.role[s.Name+".hold"]; len(held) == 1 && (s.Name == "inode" || s.Name == "mmap") {
			at := address(t, held[0].Holds)
			for _, w := range s.Waiters {
				g.waiters[at] = append(g.waiters[at], int32(w))
			}
		}
	}
	return g
}

// behind are the tasks that wait for a task, by what the guest knew.
func (g *guest) behind(tid int32, seen map[int32]bool) map[int32]bool {
	for at, holders := range g.holders {
		if !slices.Contains(holders, tid) {
			continue
		}
		for _, w := range g.waiters[at] {
			if !seen[w] {
				seen[w] = true
				g.behind(w, seen)
			}
		}
	}
	return seen
}

// TestTruth compares deadlocks, roots, holders and waiters with what the guest
// planted.
func TestTruth(t *testing.T) {
	for _, b := range boots {
		t.Run(b.name, func(t *testing.T) {
			fs, facts := open(t, b.name, b.dump)
			r := analyze(t, fs, locks.Options{})
			g := guestOf(t, facts)
			checkWaits(t, r, g)
			checkHolds(t, r, g, facts)
			checkDeadlocks(t, r, g)
			checkRoots(t, r, g)
			checkSituations(t, r, facts)
		})
	}
}

// checkWaits: each waiter waits for its lock, asleep or spinning.
func checkWaits(t *testing.T, r *locks.Report, g *guest) {
	t.Helper()
	got := map[int32]kernel.Addr{}
	spins := map[int32]bool{}
	for _, w := range r.Graph.Waits {
		pid := r.Graph.Tasks[w.Task].PID
		got[pid], spins[pid] = r.Graph.Locks[w.Lock].Addr, w.Spinning
	}
	spinning := 0
	for at, waiters := range g.waiters {
		for _, pid := range waiters {
			if got[pid] != at {
				t.Errorf("%d waits for %s, not %s", pid, at, got[pid])
			}
		}
	}
	for _, p := range g.role["spin.wait"] {
		if !spins[int32(p.Tid)] {
			t.Errorf("%d does not spin", p.Tid)
		}
		spinning++
	}
	if r.Spinning != spinning {
		t.Errorf("%d tasks spin, not %d", r.Spinning, spinning)
	}
}

// checkHolds: whoever is told to hold one of the module's locks does; and those whose
// locks have an owner field are all told, for certain.
func checkHolds(t *testing.T, r *locks.Report, g *guest, facts *truth.Truth) {
	t.Helper()
	kinds := map[kernel.Addr]string{}
	for _, l := range facts.Plant.Locks {
		kinds[address(t, l.Address)] = l.Kind
	}
	certain := map[kernel.Addr][]int32{}
	for _, h := range r.Graph.Holds {
		at, tk := r.Graph.Locks[h.Lock].Addr, &r.Graph.Tasks[h.Task]
		if _, planted := kinds[at]; !planted || kinds[at] == "work_struct" || tk.Gone != "" {
			continue
		}
		if !slices.Contains(g.holders[at], tk.PID) {
			t.Errorf("%s %s is held by %d %s (%s, %s); the guest says %v", kinds[at], at, tk.PID, tk.Comm, h.Method, h.Sure, g.holders[at])
		}
		if h.Sure == lock.Certain {
			certain[at] = append(certain[at], tk.PID)
		}
	}
	checkSuspects(t, r, g, kinds)
	for at, kind := range kinds {
		owned := slices.Contains([]string{"mutex", "ww_mutex", "rt_mutex"}, kind)
		if want := g.holders[at]; owned && len(g.waiters[at]) > 0 && !slices.Equal(certain[at], want) {
			t.Errorf("%s %s is held by %v for certain, not %v", kind, at, certain[at], want)
		}
	}
}

// checkSuspects: of the locks that do not say who holds them, those who do are told.
func checkSuspects(t *testing.T, r *locks.Report, g *guest, kinds map[kernel.Addr]string) {
	t.Helper()
	for at, kind := range kinds {
		if !slices.Contains([]string{"semaphore", "spinlock", "bit lock, bit 3", "percpu_rw_semaphore", "folio lock", "srcu_struct"}, kind) || len(g.waiters[at]) == 0 {
			continue
		}
		for _, pid := range g.holders[at] {
			if !slices.ContainsFunc(r.Graph.Holds, func(h lock.Hold) bool {
				return r.Graph.Locks[h.Lock].Addr == at && r.Graph.Tasks[h.Task].PID == pid && h.Sure != lock.Certain && strings.Contains(locks.HoldText(&h), "taken at mp_")
			}) {
				t.Errorf("%s %s is held by %d, and that is not told", kind, at, pid)
			}
		}
	}
}

// checkDeadlocks: the planted ones are told with all their tasks, and no other one is
// certain.
func checkDeadlocks(t *testing.T, r *locks.Report, g *guest) {
	t.Helper()
	want := map[string]bool{}
	for _, roles := range [][]string{{"abba.a", "abba.b"}, {"cycle.a", "cycle.b", "cycle.c"}} {
		var pids []int
		for _, role := range roles {
			for _, p := range g.role[role] {
				pids = append(pids, p.Tid)
			}
		}
		if len(pids) > 0 {
			slices.Sort(pids)
			want[fmt.Sprint(pids)] = true
		}
	}
	for _, d := range r.Deadlocks {
		var pids []int
		for _, s := range d.Steps {
			pids = append(pids, int(s.Task.PID))
			if held := g.holders[s.Holds.Addr]; !slices.Contains(held, s.Task.PID) {
				t.Errorf("%s: the guest says that %v hold %s", d.Text, held, s.Holds)
			}
		}
		slices.Sort(pids)
		if !want[fmt.Sprint(pids)] {
			t.Errorf("a %s deadlock that was not planted: %s", d.Confidence, d.Text)
		}
		if delete(want, fmt.Sprint(pids)); d.Confidence != lock.Certain {
			t.Errorf("%s: %s", d.Confidence, d.Text)
		}
	}
	if len(want) > 0 {
		t.Errorf("the deadlocks of %v are not told", want)
	}
	n := 0
	for _, f := range r.Findings {
		if f.ID == "locks.deadlock" && f.Severity == finding.Critical {
			n++
		}
	}
	if n != len(r.Deadlocks) {
		t.Errorf("%d findings of %d deadlocks", n, len(r.Deadlocks))
	}
}

// checkRoots: who holds something that others wait for, and waits for nothing itself,
// is a root, with as many tasks behind it as the guest knows of.
func checkRoots(t *testing.T, r *locks.Report, g *guest) {
	t.Helper()
	roots := map[int32]*locks.Root{}
	for i := range r.Roots {
		if r.Roots[i].Kind == locks.RootTask {
			roots[r.Roots[i].Tasks[0].PID] = &r.Roots[i]
		}
	}
	for _, role := range []string{"mutex.hold", "chain.root", "rwsem_w.hold", "rtmutex.hold", "ww.hold", "inode.hold", "mmap.hold"} {
		for _, p := range g.role[role] {
			root := roots[int32(p.Tid)]
			behind := g.behind(int32(p.Tid), map[int32]bool{})
			if root == nil || root.All != len(behind) || root.Certain != root.All || root.Confidence != lock.Certain || root.Longest == nil {
				t.Errorf("%s is the root %+v; %d tasks are behind it", role, root, len(behind))
				continue
			}
			if root.Doing == nil || len(root.Doing.Stack) < 5 || root.Doing.Function != "mp_park" {
				t.Errorf("%s does %+v", role, root.Doing)
			}
		}
	}
	for _, p := range g.role["gone.hold"] {
		root := slices.IndexFunc(r.Roots, func(root locks.Root) bool {
			return len(root.Tasks) == 1 && root.Tasks[0].Addr == address(t, p.Task)
		})
		if root < 0 || r.Graph.Tasks[r.Roots[root].Tasks[0].Index].Gone == "" || !strings.HasPrefix(r.Roots[root].Doing.What, "gone") {
			t.Errorf("the owner that exited is root %d", root)
		}
	}
	if len(g.role["chain.root"]) == 1 && roots[int32(g.role["chain.root"][0].Tid)].All != 4 {
		t.Error("the chain has not four tasks")
	}
}

// checkSituations: what user space planted.
func checkSituations(t *testing.T, r *locks.Report, facts *truth.Truth) {
	t.Helper()
	kinds := map[string]lock.Kind{"flock": lock.Flock, "posix": lock.POSIXLock, "inode": lock.RWSem, "mmap": lock.RWSem, "freeze": lock.FrozenFS, "pipe": lock.Pipe}
	for _, s := range facts.Situations {
		kind := kinds[s.Name]
		if kind == "" {
			continue
		}
		for _, pid := range s.Waiters {
			i := slices.IndexFunc(r.Graph.Waits, func(w lock.Wait) bool { return int(r.Graph.Tasks[w.Task].PID) == pid })
			if i < 0 {
				t.Errorf("%s: %d waits for nothing", s.Name, pid)
				continue
			}
			l := r.Graph.Waits[i].Lock
			name := locks.Name(&r.Graph.Locks[l])
			if r.Graph.Locks[l].Kind != kind || strings.HasPrefix(s.Detail, "/") && !strings.Contains(name, s.Detail) || s.Name == "mmap" && !strings.Contains(name, s.Detail) {
				t.Errorf("%s: %d waits for %s %s, not %s of %s", s.Name, pid, r.Graph.Locks[l].Kind, name, kind, s.Detail)
			}
			root := r.Roots[r.RootOf()[r.Graph.Waits[i].Task]]
			if len(s.Holders) == 1 && (root.Kind != locks.RootTask || int(root.Tasks[0].PID) != s.Holders[0]) || len(s.Holders) == 0 && (root.Kind != locks.RootLock || root.Why == "") {
				t.Errorf("%s: the root of %d is %+v", s.Name, pid, root)
			}
		}
	}
}

// TestSameInEveryForm: the answer does not depend on the format that a program wrote
// the dump in.
func TestSameInEveryForm(t *testing.T) {
	first := ""
	for _, name := range []string{"vmcore.fixed.elf", "makedumpfile.elf", "makedumpfile.zstd", "makedumpfile.lzo", "makedumpfile.snappy", "makedumpfile.flat", "vmcore.qemu-kdump"} {
		k := kerneltest.Kernel(t, fixtures.OnDemand(t, "main/"+name))
		fs, err := vfs.Open(k)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(analyze(t, fs, locks.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(got)
		}
		if string(got) != first {
			t.Errorf("%s: the answer differs", name)
		}
		_ = k.Image().Close() // read only
	}
}

// TestWithoutRegisters: a dump without the processors' registers says what it lost,
// and still tells who sleeps for what.
func TestWithoutRegisters(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: a whole dump is written in another form first")
	}
	asleep := func(r *locks.Report) map[string]bool {
		set := map[string]bool{}
		for _, w := range r.Graph.Waits {
			if !w.Spinning {
				set[fmt.Sprint(r.Graph.Tasks[w.Task].PID, r.Graph.Locks[w.Lock].Addr)] = true
			}
		}
		return set
	}
	fs := kerneltest.MainFS(t)
	want := asleep(analyze(t, fs, locks.Options{}))
	k := kerneltest.Kernel(t, kerneltest.Rewrite(t, fs.Kernel().Image(), "split")...)
	other, err := vfs.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	r := analyze(t, other, locks.Options{})
	if got := asleep(r); !maps.Equal(got, want) {
		t.Errorf("%d sleep for a lock, not %d", len(got), len(want))
	}
	if r.Spinning != 0 || r.Coverage.Complete() || !strings.Contains(strings.Join(r.Coverage.Problems, "\n"), "registers") {
		t.Errorf("%d spin; coverage %+v", r.Spinning, r.Coverage)
	}
	_ = k.Image().Close() // read only
}

// live is a dump that was taken while the machine ran.
type live struct{ dump.Image }

func (l live) Facts() *dump.Facts {
	f := *l.Image.Facts()
	f.Format = dump.FormatLiME
	return &f
}

// TestLiveImage: of memory that was copied while the machine ran, nothing is certain.
func TestLiveImage(t *testing.T) {
	k, err := kernel.Open(live{kerneltest.MainFS(t).Kernel().Image()}, kerneltest.Info(t), kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fs, err := vfs.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	r := analyze(t, fs, locks.Options{NoSuspects: true})
	if len(r.Deadlocks) != 2 || !strings.Contains(r.Caution, "LiME") {
		t.Fatalf("%d deadlocks, caution %q", len(r.Deadlocks), r.Caution)
	}
	for _, f := range r.Findings {
		if f.ID == "locks.deadlock" && (f.Confidence != finding.Suspected || f.Method == "") {
			t.Errorf("%+v", f)
		}
	}
}

func ExampleAnalyze() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	r, err := locks.Analyze(context.Background(), fs, locks.Options{Locks: []string{"rtnl_mutex"}, NoSuspects: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, root := range r.Roots {
		fmt.Printf("%s blocks %d tasks by %s\n", root.Tasks[0].Comm, root.All, root.Locks[0].Name)
	}
	// Output: mp/rtnl.hold blocks 2 tasks by rtnl_mutex
}

func ExampleReport_RootOf() {
	r, err := locks.Analyze(context.Background(), kerneltest.ExampleFS(), locks.Options{NoSuspects: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	roots := r.RootOf()
	for i, t := range r.Graph.Tasks {
		if t.Comm == "ifup" {
			fmt.Println("ifup waits in the end for", r.Roots[roots[i]].Tasks[0].Comm)
		}
	}
	// Output: ifup waits in the end for mp/rtnl.hold
}

func ExampleDescribe() {
	t := lock.Task{PID: 437, Comm: "jbd2/sda1-8", State: "D"}
	s := stacks.Stack{End: "start of thread"}
	for _, name := range []string{"__schedule", "schedule", "io_schedule", "folio_wait_bit_common", "folio_wait_writeback"} {
		s.Frames = append(s.Frames, stacks.Frame{Function: name, Confidence: "certain"})
	}
	fmt.Println(t.Comm, locks.Describe(&t, &s).What)
	// Output: jbd2/sda1-8 waits for I/O
}
