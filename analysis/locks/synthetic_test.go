package locks_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/analysis/hung"
	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/vfs"
)

func openImage(t testing.TB, k *synthetic.Kernel, image dump.Image, err error) *vfs.FS {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	info, err := k.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	kern, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fs, err := vfs.Open(kern)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func openSynthetic(t testing.TB, k *synthetic.Kernel) *vfs.FS {
	t.Helper()
	image, err := k.Image()
	return openImage(t, k, image, err)
}

// variants are machines and files that the releases take in turn.
var variants = []struct {
	synthetic.Machine
	codec []dumpwriter.Codec
}{
	{Machine: synthetic.Machine{}},
	{Machine: synthetic.Machine{Moved: 32 << 20}, codec: []dumpwriter.Codec{dumpwriter.LZO}},
	{Machine: synthetic.Machine{KASLR: 0x12400000, PageOffset: 0xffff95d340000000}},
	{Machine: synthetic.Machine{Levels5: true, KASLR: 0x6000000}, codec: []dumpwriter.Codec{dumpwriter.Zstd}},
	{Machine: synthetic.Machine{QEMU: true}, codec: []dumpwriter.Codec{dumpwriter.Zlib}},
}

// TestReleases: what was planted comes out on all releases.
func TestReleases(t *testing.T) {
	for i, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			v := variants[i%len(variants)]
			if l.Trait("kaslr") == "" && (v.KASLR != 0 || v.Levels5) {
				v = variants[0]
			}
			s := synthetic.NewLockScene(l, v.Machine)
			image, err := s.Image(v.codec...)
			fs := openImage(t, s.Kernel, image, err)
			r := analyze(t, fs, locks.Options{})
			if !r.Coverage.Complete() {
				t.Errorf("coverage: %+v", r.Coverage)
			}
			for _, planted := range s.Locks {
				checkPlanted(t, r, planted)
			}
			checkPlantedDeadlocks(t, r, s)
			checkPlantedRoots(t, r, s)
			checkPlantedHung(t, fs, s)
		})
	}
}

var kinds = map[synthetic.LockKind]lock.Kind{synthetic.Mutex: lock.Mutex, synthetic.RWSem: lock.RWSem, synthetic.Semaphore: lock.Semaphore, synthetic.RTMutex: lock.RTMutex,
	synthetic.WWMutex: lock.WWMutex, synthetic.Spinlock: lock.Spinlock, synthetic.RWLock: lock.RWLock}

// checkPlanted compares the waiters of a lock, in their order, and its holder.
func checkPlanted(t *testing.T, r *locks.Report, planted *synthetic.Lock) {
	t.Helper()
	at := slices.IndexFunc(r.Graph.Locks, func(l lock.Lock) bool { return uint64(l.Addr) == planted.Addr && l.Kind == kinds[planted.Kind] })
	if at < 0 {
		t.Errorf("%v is not told", planted)
		return
	}
	var want, got []string
	for i, w := range planted.Waiters {
		mode := lock.Mode("")
		if planted.Kind == synthetic.RWSem || planted.Kind == synthetic.RWLock {
			mode = map[bool]lock.Mode{true: lock.Read, false: lock.Write}[w.Read]
		}
		want = append(want, fmt.Sprint(w.Task.PID, " ", i, " ", mode))
	}
	for _, w := range r.Graph.Waits {
		if w.Lock == at {
			got = append(got, fmt.Sprint(r.Graph.Tasks[w.Task].PID, " ", w.Position, " ", w.Mode))
			if w.Sure != lock.Certain || w.Spinning || !w.Known || w.For != uint64(r.Graph.Tasks[w.Task].PID)*1e9 {
				t.Errorf("%v: %+v", planted, w)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if planted.Gone != 0 && len(got) == 1 {
		// Where the list has no head in the lock, it is not told to be the list of
		// one whose owner is no task: the place in the queue is not known then.
		got[0] = strings.Replace(got[0], " -1 ", " 0 ", 1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v is waited for by %q, not %q", planted, got, want)
	}
	checkOwner(t, r, planted, at)
}

// checkOwner: the planted owner is told for certain where the lock has an owner field,
// which rw_semaphores do not have in 2.6.32, and nobody else.
func checkOwner(t *testing.T, r *locks.Report, planted *synthetic.Lock, at int) {
	t.Helper()
	owned := false
	for _, h := range r.Graph.Holds {
		if h.Lock != at {
			continue
		}
		holder := &r.Graph.Tasks[h.Task]
		switch {
		case planted.Owner != nil && uint64(holder.Addr) == planted.Owner.Addr:
			owned = owned || h.Sure == lock.Certain
		case planted.Gone != 0 && uint64(holder.Addr) == planted.Gone:
			owned = holder.Gone != ""
		case slices.ContainsFunc(planted.Readers, func(reader *synthetic.Task) bool { return reader.Addr == uint64(holder.Addr) }) && h.Sure != lock.Certain:
		default:
			t.Errorf("%v is held by %d %s (%s, %s)", planted, holder.PID, holder.Comm, h.Method, h.Sure)
		}
	}
	if want := (planted.Owner != nil || planted.Gone != 0) && !planted.Traceless(); owned != want {
		t.Errorf("%v: the owner is told: %v", planted, owned)
	}
}

func checkPlantedDeadlocks(t *testing.T, r *locks.Report, s *synthetic.LockScene) {
	t.Helper()
	if len(r.Deadlocks) != len(s.Deadlocks) {
		t.Errorf("%d deadlocks, not %d", len(r.Deadlocks), len(s.Deadlocks))
		return
	}
	for i, d := range r.Deadlocks {
		var got, want []uint64
		for _, step := range d.Steps {
			got = append(got, uint64(step.Task.Addr))
		}
		for _, tk := range s.Deadlocks[i] {
			want = append(want, tk.Addr)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || d.Confidence != lock.Certain || d.Behind != 1 {
			t.Errorf("%s: %s, %d behind", d.Confidence, d.Text, d.Behind)
		}
	}
}

// behindPlanted are the tasks that wait for a task by what was planted, through locks
// whose owner is in them.
func behindPlanted(s *synthetic.LockScene, tk *synthetic.Task, seen map[int]bool) map[int]bool {
	for _, l := range s.Locks {
		if l.Owner != tk || l.Traceless() {
			continue
		}
		for _, w := range l.Waiters {
			if !seen[w.Task.PID] {
				seen[w.Task.PID] = true
				behindPlanted(s, w.Task, seen)
			}
		}
	}
	return seen
}

func checkPlantedRoots(t *testing.T, r *locks.Report, s *synthetic.LockScene) {
	t.Helper()
	want := map[uint64]int{}
	for _, l := range s.Locks {
		waits := l.Owner != nil && slices.ContainsFunc(s.Locks, func(o *synthetic.Lock) bool {
			return slices.ContainsFunc(o.Waiters, func(w *synthetic.LockWaiter) bool { return w.Task == l.Owner })
		})
		if l.Owner != nil && !l.Traceless() && !waits {
			want[l.Owner.Addr] = len(behindPlanted(s, l.Owner, map[int]bool{}))
		}
	}
	got := 0
	for _, root := range r.Roots {
		if root.Kind != locks.RootTask || r.Graph.Tasks[root.Tasks[0].Index].Gone != "" || root.Confidence != lock.Certain || root.WaitsFor != nil {
			continue
		}
		got++
		if n, ok := want[uint64(root.Tasks[0].Addr)]; !ok || root.All != n || root.Certain != n || root.Doing == nil || root.Doing.Function != "nap" {
			t.Errorf("root %+v doing %+v: planted are %d tasks behind it", root, root.Doing, n)
		}
	}
	if got != len(want) || got < 3 {
		t.Errorf("%d roots, not %d", got, len(want))
	}
	if i := slices.IndexFunc(r.Findings, func(f finding.Finding) bool { return f.ID == "locks.owner-gone" }); i < 0 {
		t.Error("nobody is told to be gone")
	}
}

// checkPlantedHung: the blocked tasks with their times are those that were planted.
func checkPlantedHung(t *testing.T, fs *vfs.FS, s *synthetic.LockScene) {
	t.Helper()
	r, err := hung.Analyze(t.Context(), fs)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]bool{}
	for _, l := range s.Locks {
		for _, w := range l.Waiters {
			want[int32(w.Task.PID)] = true
		}
	}
	for i := range r.Tasks {
		tk := &r.Tasks[i]
		if !want[tk.PID] || tk.Blocked == nil || *tk.Blocked != uint64(tk.PID)*1e9 || tk.Waits == "" {
			t.Errorf("%+v", tk)
		}
	}
	if len(r.Tasks) != len(want) {
		t.Errorf("%d tasks are blocked, not %d", len(r.Tasks), len(want))
	}
}

// TestCase2: kswapd0 is the one suspect, with the call that took the lock as evidence;
// all others spin.
func TestCase2(t *testing.T) {
	c := synthetic.NewCase2(synthetic.EL6(), 20)
	fs := openSynthetic(t, c.Kernel)
	r := analyze(t, fs, locks.Options{})
	if r.Spinning != 21 || r.Blocked != 0 || len(r.Deadlocks) != 0 || !r.Coverage.Complete() {
		t.Errorf("%d spin, %d are blocked, %d deadlocks, coverage %+v", r.Spinning, r.Blocked, len(r.Deadlocks), r.Coverage)
	}
	spins := map[uint64]bool{}
	for _, w := range r.Graph.Waits {
		if l := r.Graph.Locks[w.Lock]; uint64(l.Addr) != c.Lock || l.Symbol != "dcache_lock" || l.Kind != lock.Spinlock || !w.Spinning {
			t.Errorf("%+v waits for %+v", w, l)
		}
		spins[uint64(r.Graph.Tasks[w.Task].Addr)] = true
	}
	for _, s := range c.Spinners {
		if !spins[s.Addr] {
			t.Errorf("%d %s does not spin", s.PID, s.Comm)
		}
	}
	if len(r.Graph.Holds) != 1 || uint64(r.Graph.Tasks[r.Graph.Holds[0].Task].Addr) != c.Holder.Addr {
		t.Fatalf("holders: %+v", r.Graph.Holds)
	}
	h := r.Graph.Holds[0]
	if h.Sure != lock.Suspected || h.Method != lock.ByCode || len(h.Evidence) == 0 || uint64(h.Evidence[0].Call) != c.Taken || !strings.HasPrefix(h.Evidence[0].CallName, "__shrink_dcache_sb+") {
		t.Errorf("%+v; the lock was taken at %#x", h, c.Taken)
	}
	if len(r.Roots) != 1 || r.Roots[0].Kind != locks.RootTask || r.Roots[0].All != 21 || r.Roots[0].Confidence != lock.Suspected {
		t.Fatalf("%+v", r.Roots)
	}
	if d := r.Roots[0].Doing; d == nil || d.What != "runs: shrinks the dentry cache" || len(d.Stack) != 7 {
		t.Errorf("%+v", d)
	}
	f := r.Findings[0]
	if f.ID != "locks.root-blocker" || f.Confidence != "suspected" || !strings.HasPrefix(f.Statement, `180 "kswapd0" blocks 21 tasks, by spinlock dcache_lock`) {
		t.Errorf("%+v", f)
	}
	if len(f.Advice) != 1 || !strings.Contains(f.Advice[0], "mortem dentries") {
		t.Errorf("%q", f.Advice)
	}
	callers := map[string]int{} // who asked for the lock, not the function that took it for them
	for _, w := range r.Graph.Waits {
		callers[r.Graph.Tasks[w.Task].Doing]++
	}
	if callers["dput"] != 10 || callers["__shrink_dcache_sb_locked"] != 11 {
		t.Errorf("%v", callers)
	}
	checkCase2Hung(t, fs, c)
}

// checkCase2Hung: the log's lockups are tied to what the processors run.
func checkCase2Hung(t *testing.T, fs *vfs.FS, c *synthetic.Case2) {
	t.Helper()
	r, err := hung.Analyze(t.Context(), fs)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for i := range r.Messages {
		m := &r.Messages[i]
		now := ""
		if m.Tied != nil {
			now = m.Tied.Now
		}
		said[fmt.Sprint(m.Kind, ": ", now)] = true
	}
	for _, want := range []string{"hung task: gone", "soft lockup: runs on CPU 21", "soft lockup: runs on CPU 1", "panic: "} {
		if !said[want] {
			t.Errorf("no message is %q: %v", want, said)
		}
	}
	holder := slices.IndexFunc(r.CPUs, func(cpu hung.CPU) bool { return uint64(cpu.Task) == c.Holder.Addr })
	if holder < 0 || r.CPUs[holder].Number != 0 || r.CPUs[holder].Blocks != 21 {
		t.Errorf("the holder's processor is %d of %+v", holder, r.CPUs)
	}
	spin := 0
	for _, cpu := range r.CPUs {
		if cpu.Spins == "" {
			continue
		}
		spin++
		if !strings.HasPrefix(cpu.Doing.What, "spins for spinlock dcache_lock") || !slices.Equal(cpu.HeldBy, []string{`180 "kswapd0" (suspected)`}) {
			t.Errorf("CPU %d: %+v, held by %q", cpu.Number, cpu.Doing, cpu.HeldBy)
		}
	}
	if spin != 21 {
		t.Errorf("%d processors spin", spin)
	}
}

// chains is 10,000 tasks that wait for 500 locks in chains of depth 20.
func chains() *synthetic.LockScene { return synthetic.NewLockChains(synthetic.V6_1(), 25, 20, 20) }

// TestManyTasks: all of them are answered, in time.
func TestManyTasks(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: a machine with thousands of waiting tasks is built and solved")
	}
	s := chains()
	fs := openSynthetic(t, s.Kernel)
	start := time.Now()
	r := analyze(t, fs, locks.Options{})
	took := time.Since(start)
	t.Logf("10,000 tasks on 500 locks: %v", took)
	if took > 40*time.Second {
		t.Errorf("took %v", took)
	}
	if r.Blocked != 10000 || len(r.Graph.Locks) != 500 || len(r.Roots) != 25 || len(r.Deadlocks) != 0 || !r.Coverage.Complete() {
		t.Errorf("%d are blocked on %d locks, %d roots, %d deadlocks, coverage %+v", r.Blocked, len(r.Graph.Locks), len(r.Roots), len(r.Deadlocks), r.Coverage)
	}
	for _, root := range r.Roots {
		if root.All != 400 || root.Direct != 20 || root.Certain != 400 {
			t.Errorf("%+v", root)
		}
	}
}

func BenchmarkManyTasks(b *testing.B) {
	fs := openSynthetic(b, chains().Kernel)
	for b.Loop() {
		if _, err := locks.Analyze(b.Context(), fs, locks.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(10000*float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// openDump opens a dump that was damaged.
func openDump(t testing.TB, d *synthetic.Dump) *vfs.FS {
	t.Helper()
	image, err := d.Open()
	return openImage(t, d.Kernel, image, err)
}

// planted is a lock of the scene.
func planted(s *synthetic.LockScene, name string) *synthetic.Lock {
	return s.Locks[slices.IndexFunc(s.Locks, func(l *synthetic.Lock) bool { return l.Name == name })]
}

// TestBrokenLists: what breaks at one lock is said to be broken, and all else is told
// as before; there is never a deadlock that was not planted.
func TestBrokenLists(t *testing.T) {
	releases := []*synthetic.Layout{synthetic.EL6(), synthetic.V7(), synthetic.EL7(), synthetic.V6_1()}
	if testing.Short() {
		releases = releases[:2]
	}
	for _, l := range releases {
		t.Run(l.Name, func(t *testing.T) {
			s := synthetic.NewLockScene(l, synthetic.Machine{})
			whole := analyze(t, openSynthetic(t, s.Kernel), locks.Options{})
			m, r := planted(s, "plain_mutex"), planted(s, "written_rwsem")
			for _, c := range []struct {
				what     string
				hurt     func(d *synthetic.Dump)
				lost     int  // waits that may be missing
				complete bool // nothing is unread: memory says something else
			}{
				{"a waiter's stack is not in the dump", func(d *synthetic.Dump) { d.Exclude(m.Waiters[1].Addr) }, 3, false},
				{"the first waiter's stack is not in the dump", func(d *synthetic.Dump) { d.Exclude(r.Waiters[0].Addr) }, 3, false},
				{"a waiter leads to itself", func(d *synthetic.Dump) { d.PutUint64(m.Waiters[1].At("list"), m.Waiters[1].At("list")) }, 3, true},
				{"a waiter leads to nowhere", func(d *synthetic.Dump) { d.PutUint64(r.Waiters[1].At("list"), 0xdead000000000100) }, 3, true},
				{"the owner is no task", func(d *synthetic.Dump) { d.PutUint64(m.At(ownerOf(m)), 0xffff888000001231) }, 0, true},
				// Without a head in the lock, the list is only told to be its own where the rest fits.
				{"the owner is a small number", func(d *synthetic.Dump) { d.PutUint64(m.At(ownerOf(m)), 0x10) }, 3, true},
			} {
				d := s.Dump()
				c.hurt(d)
				got := analyze(t, openDump(t, d), locks.Options{})
				if lost := len(whole.Graph.Waits) - len(got.Graph.Waits); lost < 0 || lost > c.lost {
					t.Errorf("%s: %d waits of %d", c.what, len(got.Graph.Waits), len(whole.Graph.Waits))
				}
				if !c.complete && got.Coverage.Complete() {
					t.Errorf("%s: the answer claims to be complete", c.what)
				}
				if len(got.Deadlocks) != 1 || got.Deadlocks[0].Text != whole.Deadlocks[0].Text {
					t.Errorf("%s: deadlocks %+v", c.what, got.Deadlocks)
				}
				if strings.HasPrefix(c.what, "the owner") {
					checkNoOwner(t, c.what, got, m)
				}
			}
		})
	}
}

func ownerOf(l *synthetic.Lock) string {
	if l.Has("owner.counter") {
		return "owner.counter"
	}
	return "owner"
}

// checkNoOwner: nobody alive is told to own the lock.
func checkNoOwner(t *testing.T, what string, r *locks.Report, l *synthetic.Lock) {
	t.Helper()
	for _, h := range r.Graph.Holds {
		if uint64(r.Graph.Locks[h.Lock].Addr) == l.Addr && r.Graph.Tasks[h.Task].Gone == "" {
			t.Errorf("%s: %+v is told to hold it", what, r.Graph.Tasks[h.Task])
		}
	}
}

// TestRandomDamage: whatever is wrong with locks and waiters, an answer comes, in time,
// and each number in it is one of its own.
func TestRandomDamage(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.EL6(), synthetic.V6_12(), synthetic.V7()} {
		s := synthetic.NewLockScene(l, synthetic.Machine{})
		var at []uint64
		for _, lk := range s.Locks {
			at = append(at, lk.Addr, lk.Addr+8, lk.Addr+16, lk.Addr+24)
			for _, w := range lk.Waiters {
				at = append(at, w.Addr, w.Addr+8, w.Addr+16, w.Task.At("thread.sp"))
			}
		}
		seeds := uint64(12)
		if testing.Short() {
			seeds = 3
		}
		for seed := range seeds {
			r := rand.New(rand.NewPCG(seed, 3))
			d := s.Dump()
			for range 1 + r.IntN(20) {
				where := at[r.IntN(len(at))]
				switch r.IntN(4) {
				case 0:
					d.PutUint64(where, d.WildPointer(r))
				case 1:
					d.PutUint64(where, at[r.IntN(len(at))])
				case 2:
					d.FlipBit(where, r.IntN(64))
				default:
					if r.IntN(4) == 0 {
						d.Exclude(where)
					}
				}
			}
			start := time.Now()
			got := analyze(t, openDump(t, d), locks.Options{})
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("%s, seed %d took %v", l.Name, seed, took)
			}
			checkNumbers(t, got)
		}
	}
}

// checkNumbers: all references lead into the graph.
func checkNumbers(t *testing.T, r *locks.Report) {
	t.Helper()
	g := &r.Graph
	task := func(i int) { _ = g.Tasks[i] }
	lk := func(i int) { _ = g.Locks[i] }
	for _, w := range g.Waits {
		task(w.Task)
		lk(w.Lock)
	}
	for _, h := range g.Holds {
		task(h.Task)
		lk(h.Lock)
	}
	for _, root := range r.Roots {
		for _, tk := range root.Tasks {
			task(tk.Index)
		}
		for _, l := range root.Locks {
			lk(l.Index)
		}
		if root.Direct > root.All || root.Certain > root.All {
			t.Errorf("%+v", root)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}
