package locks_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/hung"
	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/analysis/locks/drawing"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// realtime is a machine with PREEMPT_RT.
func realtime(m synthetic.Machine) *synthetic.Kernel {
	k := synthetic.New(synthetic.RT6_1(), m)
	k.Mount(k.SuperBlock("ext4", "sda1"), nil)
	return k
}

// waitOf is the wait of a task, with its lock.
func waitOf(t *testing.T, r *locks.Report, tk *synthetic.Task) (*lock.Wait, *lock.Lock) {
	t.Helper()
	for i := range r.Graph.Waits {
		if w := &r.Graph.Waits[i]; uint64(r.Graph.Tasks[w.Task].Addr) == tk.Addr {
			return w, &r.Graph.Locks[w.Lock]
		}
	}
	t.Fatalf("%d %s does not wait; %+v", tk.PID, tk.Comm, r.Graph.Unexplained)
	return nil, nil
}

// TestRealtimeStopped: the kernel stopped a task that would have closed a circle, and
// another one takes a spinlock that it has: neither is in a queue.
func TestRealtimeStopped(t *testing.T) {
	k := realtime(synthetic.Machine{})
	one, two, own := k.NewLock(synthetic.Mutex, "one"), k.NewLock(synthetic.Mutex, "two"), k.NewLock(synthetic.Spinlock, "own")
	a, b, c := k.Task("a", 300, k.InitNet()), k.Task("b", 301, k.InitNet()), k.Task("c", 302, k.InitNet())
	a.WaitFor(one, false, "takes_two_one")
	b.StopFor(two, "takes_one_two")
	c.RepeatFor(own, "takes_own")
	one.OwnedBy(b)
	two.OwnedBy(a)
	own.OwnedBy(c)
	r := analyze(t, openSynthetic(t, k), locks.Options{})
	for tk, want := range map[*synthetic.Task]*synthetic.Lock{a: one, b: two, c: own} {
		w, l := waitOf(t, r, tk)
		if uint64(l.Addr) != want.Addr || l.Kind != kinds[want.Kind] || (w.Sure == lock.Certain) != (tk == a) || tk != a && w.Evidence.Text == "" {
			t.Errorf("%s: %+v for %+v, not %v", tk.Comm, w, l, want)
		}
	}
	if len(r.Deadlocks) != 2 || r.Deadlocks[0].Confidence != lock.Likely || len(r.Deadlocks[0].Steps)+len(r.Deadlocks[1].Steps) != 3 {
		t.Errorf("%+v", r.Deadlocks)
	}
	if len(r.Graph.Unexplained) != 0 || !r.Coverage.Complete() {
		t.Errorf("%+v %+v", r.Graph.Unexplained, r.Coverage)
	}
}

// TestRealtimeReader: who reads leaves no trace in a rw_semaphore or rwlock, and is found
// by the code that it is in; a writer that waits for it is in no queue. Here each waits for
// the other.
func TestRealtimeReader(t *testing.T) {
	for kind, take := range map[synthetic.LockKind]string{synthetic.RWSem: "down_read", synthetic.RWLock: "rt_read_lock"} {
		k := realtime(synthetic.Machine{})
		shared, m := k.NewLock(kind, "shared"), k.NewLock(synthetic.Mutex, "m")
		reader, writer, late := k.Task("reader", 300, k.InitNet()), k.Task("writer", 301, k.InitNet()), k.Task("late", 302, k.InitNet())
		shared.ReadBy(reader)
		m.OwnedBy(writer)
		writer.WaitFor(shared, false, "takes_m_writes")
		late.WaitFor(shared, true, "reads")
		k.TakesFirst("reads_takes_m", shared, take, "mutex_lock")
		reader.WaitFor(m, false, "reads_takes_m")
		r := analyze(t, openSynthetic(t, k), locks.Options{})
		w, l := waitOf(t, r, writer)
		if uint64(l.Addr) != shared.Addr || w.Sure != lock.Certain || w.Mode != lock.Write || w.Position != 0 || w.Methods[0] != lock.ByOwner ||
			l.State != "locked by 1 reader, and a writer waits for them to leave" || !l.Held || l.Queue != 2 {
			t.Errorf("%s: %+v for %+v", kind, w, l)
		}
		if w, l := waitOf(t, r, late); uint64(l.Addr) != shared.Addr || w.Mode != lock.Read || w.Position != 1 {
			t.Errorf("%s: %+v for %+v", kind, w, l)
		}
		if len(r.Deadlocks) != 1 || r.Deadlocks[0].Confidence != lock.Suspected || len(r.Deadlocks[0].Steps) != 2 || r.Deadlocks[0].Behind != 1 {
			t.Errorf("%s: %+v; holds %+v", kind, r.Deadlocks, r.Graph.Holds)
		}
	}
}

// TestRealtimeSpinner: one that is in the queue and on a processor spins, another sleeps
// behind it.
func TestRealtimeSpinner(t *testing.T) {
	k := realtime(synthetic.Machine{CPUs: 2})
	l := k.NewLock(synthetic.Spinlock, "contended")
	owner, spinner, sleeper := k.Task("owner", 300, k.InitNet()), k.Task("spinner", 301, k.InitNet()), k.Task("sleeper", 302, k.InitNet())
	l.OwnedBy(owner)
	spinner.SpinFor(l, 1, "takes_it")
	owner.RunOn(0, nil, synthetic.Frame{In: k.NewCode("busy", 64).Enter(0).Nop(20).Leave(), Offset: 10})
	sleeper.WaitFor(l, false, "takes_it")
	r := analyze(t, openSynthetic(t, k), locks.Options{})
	for tk, place := range map[*synthetic.Task]int{spinner: 0, sleeper: 1} {
		w, got := waitOf(t, r, tk)
		if uint64(got.Addr) != l.Addr || got.Kind != lock.Spinlock || w.Spinning != (tk == spinner) || w.Position != place || w.Sure != lock.Certain {
			t.Errorf("%s: %+v for %+v", tk.Comm, w, got)
		}
	}
	if len(r.Roots) != 1 || uint64(r.Roots[0].Tasks[0].Addr) != owner.Addr || r.Roots[0].All != 2 || r.Spinning != 1 || r.Blocked != 1 {
		t.Errorf("%+v, %d spin", r.Roots, r.Spinning)
	}
}

// TestRealtimeMembers: locks in objects are named by their members, and not by what is
// inside of the locks.
func TestRealtimeMembers(t *testing.T) {
	layout := synthetic.RT6_1().Extend("struct rt_holder 256\n0 8 magic unsigned long\n8 48 guard rwlock_t\n56 32 lock spinlock_t\n88 40 sem struct rw_semaphore\n128 32 m struct mutex\n")
	k := synthetic.New(layout, synthetic.Machine{MemMap: true})
	k.Mount(k.SuperBlock("ext4", "sda1"), nil)
	o := k.ObjectAt("rt_holder", k.Cache("rt_holder", 256).Alloc())
	for i, l := range []*synthetic.Lock{k.NewLockIn(synthetic.RWLock, o, "guard"), k.NewLockIn(synthetic.Spinlock, o, "lock"),
		k.NewLockIn(synthetic.RWSem, o, "sem"), k.NewLockIn(synthetic.Mutex, o, "m")} {
		owner, waiter := k.Task("owner", 300+i, k.InitNet()), k.Task("waiter", 400+i, k.InitNet())
		owner.SleepIn("nap")
		l.OwnedBy(owner)
		waiter.WaitFor(l, false, fmt.Sprint("takes_member_", i))
	}
	r := analyze(t, openSynthetic(t, k), locks.Options{})
	var got []string
	for _, l := range r.Graph.Locks {
		if l.Object != nil {
			got = append(got, fmt.Sprint(l.Kind, " ", l.Object.Type, " ", l.Object.Member))
		}
	}
	want := []string{"mutex struct rt_holder m", "rw_semaphore struct rt_holder sem", "rwlock struct rt_holder guard", "spinlock struct rt_holder lock"}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}

// TestRealtimeReused: the owner exited, and where its task_struct was is another task's,
// which started when the first in the queue slept already.
func TestRealtimeReused(t *testing.T) {
	for _, late := range []bool{true, false} {
		k := realtime(synthetic.Machine{})
		l := k.NewLock(synthetic.Mutex, "left_behind")
		owner, waiter := k.Task("owner", 300, k.InitNet()), k.Task("waiter", 301, k.InitNet())
		owner.WaitFor(k.NewLock(synthetic.Mutex, "another"), false, "takes_another")
		waiter.WaitFor(l, false, "takes_it")
		l.OwnedBy(owner)
		for tk, slept := range map[*synthetic.Task]uint64{owner: 900e9, waiter: 500e9} {
			tk.Asleep(slept, 1000e9)
			tk.Set("start_time", 100e9)
		}
		if late {
			owner.Set("start_time", 800e9)
		}
		fs := openSynthetic(t, k)
		h, err := hung.Analyze(t.Context(), fs)
		if err != nil {
			t.Fatal(err)
		}
		for i := range h.Tasks {
			if tk := &h.Tasks[i]; tk.Waits == "" || tk.Doing.Function == "" || len(h.Tasks) != 2 {
				t.Errorf("started later: %v: hung: %+v", late, tk)
			}
		}
		r := analyze(t, fs, locks.Options{})
		if len(r.Graph.Holds) != 1 || (r.Graph.Tasks[r.Graph.Holds[0].Task].Gone != "") != late {
			t.Errorf("started later: %v: %+v %+v", late, r.Graph.Holds, r.Graph.Tasks)
		}
	}
}

// TestRealtimeBroken: what breaks at one lock is said to be broken, and all else is told as
// before; there is never a deadlock that was not planted.
func TestRealtimeBroken(t *testing.T) {
	s := synthetic.NewLockScene(synthetic.RT6_1(), synthetic.Machine{})
	whole := analyze(t, openSynthetic(t, s.Kernel), locks.Options{})
	spin, read := planted(s, "plain_spinlock"), planted(s, "read_rwlock")
	node := spin.Waiters[1].At("tree.entry")
	for _, c := range []struct {
		what  string
		hurt  func(d *synthetic.Dump)
		lost  int
		says  string // of the lock at, where something is broken
		lock  *synthetic.Lock
		owner bool // is told
	}{
		{"a stack is not in the dump", func(d *synthetic.Dump) { d.Exclude(spin.Waiters[0].Addr) }, 1, "tree", spin, true},
		{"a stack pointer is wrong", func(d *synthetic.Dump) { d.PutUint64(spin.Waiters[0].Task.At("thread.sp"), 0x10) }, 0, "", spin, true},
		{"the tree leads to nowhere", func(d *synthetic.Dump) { d.PutUint64(node+8, 0xdead000000000100) }, 0, "tree", spin, true},
		{"the owner is no task", func(d *synthetic.Dump) { d.PutUint64(spin.At("lock.owner"), 0xffff888000001231) }, 0, "", spin, false},
		{"nobody is the owner", func(d *synthetic.Dump) { d.PutUint64(read.At("rwbase.rtmutex.owner"), 0) }, 1, "", read, true},
		{"the count of readers is a writer's", func(d *synthetic.Dump) { d.PutUint64(read.Addr, 1<<30) }, 1, "", read, true},
	} {
		d := s.Dump()
		c.hurt(d)
		got := analyze(t, openDump(t, d), locks.Options{})
		if lost := len(whole.Graph.Waits) - len(got.Graph.Waits); lost != c.lost {
			t.Errorf("%s: %d waits of %d", c.what, len(got.Graph.Waits), len(whole.Graph.Waits))
		}
		if len(got.Graph.Locks) != len(whole.Graph.Locks) {
			t.Errorf("%s: %d locks of %d", c.what, len(got.Graph.Locks), len(whole.Graph.Locks))
		}
		for i := range got.Deadlocks {
			if len(got.Deadlocks) != len(whole.Deadlocks) || got.Deadlocks[i].Text != whole.Deadlocks[i].Text {
				t.Errorf("%s: deadlocks %+v", c.what, got.Deadlocks)
			}
		}
		if (c.says != "" || c.lost > 0) && got.Coverage.Complete() && len(got.Graph.Unexplained) == 0 {
			t.Errorf("%s: the answer claims to be complete", c.what)
		}
		for _, l := range got.Graph.Locks {
			if uint64(l.Addr) == c.lock.Addr && (l.Broken == "") != (c.says == "") {
				t.Errorf("%s: %+v", c.what, l)
			}
		}
		if !c.owner {
			checkNoOwner(t, c.what, got, c.lock)
		}
	}
}

// TestRealtimeDamage: whatever is wrong with locks and waiters, an answer comes, in time.
func TestRealtimeDamage(t *testing.T) {
	s := synthetic.NewLockScene(synthetic.RT6_1(), synthetic.Machine{})
	var at []uint64
	for _, lk := range s.Locks {
		for off := uint64(0); off < 48; off += 8 {
			at = append(at, lk.Addr+off)
		}
		for _, w := range lk.Waiters {
			at = append(at, w.Task.At("thread.sp"), w.Task.At("pi_blocked_on"))
			for off := uint64(0); off < 112 && w.Addr != 0; off += 8 {
				at = append(at, w.Addr+off)
			}
		}
	}
	seeds := uint64(30)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 7))
		d := s.Dump()
		for range 1 + r.IntN(20) {
			where := at[r.IntN(len(at))]
			switch r.IntN(3) {
			case 0:
				d.PutUint64(where, d.WildPointer(r))
			case 1:
				d.PutUint64(where, at[r.IntN(len(at))])
			default:
				d.FlipBit(where, r.IntN(64))
			}
		}
		start := time.Now()
		got := analyze(t, openDump(t, d), locks.Options{})
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("seed %d took %v", seed, took)
		}
		checkNumbers(t, got)
	}
}

// TestRealtimeShown: the drawing and the JSON have the locks by their kinds on
// PREEMPT_RT, not as the rt_mutexes in them.
func TestRealtimeShown(t *testing.T) {
	s := synthetic.NewLockScene(synthetic.RT6_1(), synthetic.Machine{})
	r := analyze(t, openSynthetic(t, s.Kernel), locks.Options{})
	var dot bytes.Buffer
	if err := drawing.DOT(&dot, r); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back locks.Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	for _, l := range s.Locks {
		if l.Name == "" {
			continue
		}
		if name := fmt.Sprintf(`"%s\n%s\n`, kinds[l.Kind], l.Name); !strings.Contains(dot.String(), name) {
			t.Errorf("the drawing has no %s", name)
		}
		found := false
		for _, got := range back.Graph.Locks {
			found = found || got.Symbol == l.Name && got.Kind == kinds[l.Kind] && uint64(got.Addr) == l.Addr
		}
		if !found {
			t.Errorf("JSON has no %v", l)
		}
	}
}
