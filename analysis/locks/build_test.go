package locks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/lock"
)

// plan puts a snapshot together by names.
type plan struct {
	s     lock.Snapshot
	tasks map[string]int
	locks map[string]int
}

func newPlan() *plan { return &plan{tasks: map[string]int{}, locks: map[string]int{}} }

func (p *plan) task(name string) int {
	i, ok := p.tasks[name]
	if !ok {
		i = len(p.s.Tasks)
		p.tasks[name] = i
		p.s.Tasks = append(p.s.Tasks, lock.Task{Addr: kernel.Addr(0xffff888000010000 + uint64(i)*0x1000), PID: int32(100 + i), TGID: int32(100 + i), Comm: name, State: "D"})
	}
	return i
}

func (p *plan) lock(name string) int {
	i, ok := p.locks[name]
	if !ok {
		i = len(p.s.Locks)
		p.locks[name] = i
		p.s.Locks = append(p.s.Locks, lock.Lock{Kind: lock.Mutex, Addr: kernel.Addr(0xffffffff82000000 + uint64(i)*0x40), Symbol: name})
	}
	return i
}

func (p *plan) waits(task, lockName string) {
	p.s.Waits = append(p.s.Waits, lock.Wait{Task: p.task(task), Lock: p.lock(lockName), Methods: []lock.Method{lock.ByWaitList}, Sure: lock.Certain,
		For: uint64(time.Minute), Known: true})
}

func (p *plan) holds(task, lockName string, m lock.Method, c lock.Confidence) {
	p.s.Holds = append(p.s.Holds, lock.Hold{Lock: p.lock(lockName), Task: p.task(task), Method: m, Sure: c})
}

func (p *plan) owns(task, lockName string) { p.holds(task, lockName, lock.ByOwner, lock.Certain) }

// abba is a deadlock of two with one more task behind it, and a chain of three that
// ends in a task which waits for nothing.
func abba() *plan {
	p := newPlan()
	p.owns("A", "m1")
	p.waits("A", "m2")
	p.owns("B", "m2")
	p.waits("B", "m1")
	p.waits("late", "m1")
	p.owns("root", "m3")
	p.waits("mid", "m3")
	p.owns("mid", "m4")
	p.waits("leaf", "m4")
	return p
}

func comms(list []TaskRef) (out []string) {
	for _, t := range list {
		out = append(out, t.Comm)
	}
	return out
}

func TestDeadlockAsRead(t *testing.T) {
	r := Build(&abba().s)
	if len(r.Deadlocks) != 1 {
		t.Fatalf("%d deadlocks", len(r.Deadlocks))
	}
	d := &r.Deadlocks[0]
	const want = `100 "A" holds mutex m1, waits for mutex m2; 101 "B" holds mutex m2, waits for mutex m1`
	if d.Text != want || d.Confidence != lock.Certain || d.Behind != 1 || d.Knot != 2 {
		t.Errorf("%+v", d)
	}
	if len(r.Roots) != 2 || r.Roots[0].Kind != RootTask || r.Roots[0].All != 2 || r.Roots[0].Direct != 1 || r.Roots[0].Tasks[0].Comm != "root" {
		t.Fatalf("roots: %+v", r.Roots)
	}
	if dead := r.Roots[1]; dead.Kind != RootDeadlock || dead.All != 1 || !slices.Equal(comms(dead.Tasks), []string{"A", "B"}) || len(dead.Locks) != 2 {
		t.Errorf("root: %+v", dead)
	}
	if r.Blocked != 5 || r.Spinning != 0 {
		t.Errorf("%d blocked, %d spinning", r.Blocked, r.Spinning)
	}
	if f := r.Findings[0]; f.ID != idDeadlock || f.Severity != finding.Critical || f.Confidence != finding.Certain {
		t.Errorf("%+v", f)
	}
}

// TestUnsureDeadlocks: what is suspected or a hint makes no certain deadlock.
func TestUnsureDeadlocks(t *testing.T) {
	for _, c := range []struct {
		method lock.Method
		sure   lock.Confidence
		want   lock.Confidence
		says   string
	}{
		{lock.ByCode, lock.Suspected, lock.Suspected, "is suspected to hold"},
		{lock.ByReader, lock.Hint, lock.Hint, "may hold"},
		{lock.ByReader, lock.Certain, lock.Hint, "may hold"},
		{lock.ByArgument, lock.Likely, lock.Likely, "likely holds"},
		{lock.ByOwner, "of a newer library", lock.Suspected, "is suspected to hold"},
	} {
		p := newPlan()
		p.owns("A", "m1")
		p.waits("A", "m2")
		p.holds("B", "m2", c.method, c.sure)
		p.waits("B", "m1")
		r := Build(&p.s)
		if len(r.Deadlocks) != 1 || r.Deadlocks[0].Confidence != c.want || !strings.Contains(r.Deadlocks[0].Text, c.says) {
			t.Errorf("%v: %+v", c, r.Deadlocks)
		}
		if f := r.Findings[0]; f.Confidence != finding.Suspected || f.Method == "" || c.want != lock.Likely && f.Severity == finding.Critical {
			t.Errorf("%v: %+v", c, f)
		}
	}
}

// TestHintHidesNothing: the last reader of a lock waits for it itself; that is no
// reason not to say that the lock's holder is unknown.
func TestHintHidesNothing(t *testing.T) {
	p := newPlan()
	p.holds("A", "m1", lock.ByReader, lock.Hint)
	p.waits("A", "m1")
	p.waits("B", "m1")
	p.s.Locks[0].NoHolder = "read-held; readers leave no trace"
	r := Build(&p.s)
	if len(r.Roots) != 1 || r.Roots[0].Kind != RootLock || r.Roots[0].All != 2 || r.Roots[0].Why == "" {
		t.Errorf("%+v", r.Roots)
	}
}

func TestOwnerGone(t *testing.T) {
	p := newPlan()
	p.owns("gone", "m1")
	p.s.Tasks[0].Gone = "its task_struct was freed"
	p.waits("B", "m1")
	r := Build(&p.s)
	f := r.Findings[0]
	if f.ID != idGone || !strings.Contains(f.Statement, "no live task") || !strings.Contains(f.Statement, r.Graph.Tasks[0].Addr.String()) {
		t.Errorf("%+v", f)
	}
}

// TestOwnerUnread: an owner that may be live is not said to be gone.
func TestOwnerUnread(t *testing.T) {
	p := newPlan()
	p.owns("lost", "m1")
	p.s.Tasks[0].Gone, p.s.Tasks[0].Unread = "it may be a live task", true
	p.waits("B", "m1")
	r := Build(&p.s)
	f := r.Findings[0]
	if f.ID != idUnowned || strings.Contains(f.Statement, "no live task") || !strings.Contains(f.Statement, r.Graph.Tasks[0].Addr.String()) || len(f.Advice) != 0 {
		t.Errorf("%+v", f)
	}
	if name := TaskName(&r.Graph.Tasks[0]); strings.Contains(name, "gone") {
		t.Error(name)
	}
	if d := Describe(&r.Graph.Tasks[0], nil); strings.Contains(d.What, "gone") {
		t.Errorf("%+v", d)
	}
}

// TestSelfDeadlock: a task that waits for a mutex of its own is a deadlock of one.
func TestSelfDeadlock(t *testing.T) {
	p := newPlan()
	p.owns("A", "m1")
	p.waits("A", "m1")
	p.waits("B", "m1")
	r := Build(&p.s)
	const want = `100 "A" holds mutex m1, waits for mutex m1`
	if len(r.Deadlocks) != 1 || r.Deadlocks[0].Text != want || r.Deadlocks[0].Confidence != lock.Certain || r.Deadlocks[0].Knot != 1 || r.Deadlocks[0].Behind != 1 {
		t.Errorf("%+v", r.Deadlocks)
	}
	if len(r.Roots) != 1 || r.Roots[0].Kind != RootDeadlock || r.Roots[0].All != 1 {
		t.Errorf("%+v", r.Roots)
	}
}

// TestSharedTask: two deadlocks that share a task, which waits for a lock of two readers,
// are both told, and as one knot.
func TestSharedTask(t *testing.T) {
	p := newPlan()
	p.waits("A", "rw")
	p.owns("B", "rw")
	p.owns("C", "rw")
	p.owns("A", "m1")
	p.waits("B", "m1")
	p.owns("A", "m2")
	p.waits("C", "m2")
	r := Build(&p.s)
	var texts []string
	for i := range r.Deadlocks {
		d := &r.Deadlocks[i]
		texts = append(texts, d.Text)
		if d.Confidence != lock.Certain || d.Knot != 3 || len(d.Steps) != 2 || d.Behind != 0 {
			t.Errorf("%+v", d)
		}
	}
	slices.Sort(texts)
	if want := []string{`100 "A" holds mutex m1, waits for mutex rw; 101 "B" holds mutex rw, waits for mutex m1`,
		`102 "C" holds mutex rw, waits for mutex m2; 100 "A" holds mutex m2, waits for mutex rw`}; !slices.Equal(texts, want) {
		t.Errorf("%q", texts)
	}
	if len(r.Roots) != 1 || r.Roots[0].Kind != RootDeadlock || len(r.Roots[0].Tasks) != 3 {
		t.Errorf("%+v", r.Roots)
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		opt                  Options
		tasks                []string
		roots, deadlocks     int
		chain                string
		root                 string
		locksInGraph, inWait int
	}{
		{Options{Tasks: []string{"105"}}, []string{"root", "mid", "leaf"}, 1, 0,
			`105 "leaf" waits for mutex m4, held by 104 "mid", which waits for mutex m3, held by 103 "root"`, "root", 2, 2},
		{Options{Tasks: []string{"102"}}, []string{"A", "B", "late"}, 1, 1,
			`102 "late" waits for mutex m1, held by 100 "A", which waits for mutex m2, held by 101 "B", which waits for mutex m1: a deadlock`, "A", 2, 3},
		{Options{Locks: []string{"m4"}}, []string{"root", "mid", "leaf"}, 1, 0, "", "root", 2, 2},
		{Options{Locks: []string{"0xffffffff82000080"}}, []string{"root", "mid", "leaf"}, 1, 0, "", "root", 2, 2},
	} {
		b := newBuilder(&abba().s)
		b.deadlocks()
		b.roots()
		s, err := b.choose(nothing, c.opt)
		if err != nil {
			t.Fatal(err)
		}
		b.r.Findings = b.findings()
		s.cut()
		r := b.r
		var got []string
		for i := range r.Graph.Tasks {
			got = append(got, r.Graph.Tasks[i].Comm)
		}
		if !slices.Equal(got, c.tasks) || len(r.Roots) != c.roots || len(r.Deadlocks) != c.deadlocks || len(r.Graph.Locks) != c.locksInGraph || len(r.Graph.Waits) != c.inWait {
			t.Errorf("%+v leaves %v, roots %+v, deadlocks %+v, locks %+v", c.opt, got, r.Roots, r.Deadlocks, r.Graph.Locks)
		}
		if c.chain != "" && (len(r.Chains) != 1 || r.Chains[0].Text != c.chain) {
			t.Errorf("%+v: chain %+v", c.opt, r.Chains)
		}
		if ref := r.Roots[0].Tasks[0]; r.Graph.Tasks[ref.Index].Comm != ref.Comm || ref.Comm != c.root {
			t.Errorf("%+v: root %+v is task %+v", c.opt, ref, r.Graph.Tasks[ref.Index])
		}
		for _, l := range r.Roots[0].Locks {
			if r.Graph.Locks[l.Index].Addr != l.Addr {
				t.Errorf("%+v: lock %+v is %+v", c.opt, l, r.Graph.Locks[l.Index])
			}
		}
	}
}

// nothing is a kernel with one more task, one that may be there, and one more variable.
var nothing = names{
	task: func(pid int32, _ uint64) (string, bool, bool) { return "idler", pid == 77, pid != 78 },
	symbol: func(name string) (uint64, error) {
		if name == "free_lock" {
			return 0xffffffff82345678, nil
		}
		return 0, kernel.ErrNotFound
	},
}

func TestChooseOthers(t *testing.T) {
	b := newBuilder(&abba().s)
	b.deadlocks()
	b.roots()
	s, err := b.choose(nothing, Options{Tasks: []string{"77"}, Locks: []string{"free_lock"}})
	if err != nil || len(b.r.Apart) != 2 || !strings.Contains(b.r.Apart[0], "idler") {
		t.Fatalf("%v, %v", b.r.Apart, err)
	}
	s.cut()
	if r := b.r; len(r.Graph.Tasks)+len(r.Graph.Locks)+len(r.Roots)+len(r.Deadlocks) != 0 {
		t.Errorf("%+v is left", r)
	}
	for _, opt := range []Options{{Tasks: []string{"78"}}, {Tasks: []string{"perl"}}, {Locks: []string{"no_such_lock"}}, {Locks: []string{"12"}}} {
		if _, err := newBuilder(&abba().s).choose(nothing, opt); !errors.Is(err, kernel.ErrNotFound) {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	// nothing says that 78 was looked for among tasks that could not be listed whole.
	if _, err := newBuilder(&abba().s).choose(nothing, Options{Tasks: []string{"78"}}); !strings.Contains(err.Error(), "could not be listed whole") {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		lock lock.Lock
		want string
	}{
		{lock.Lock{Kind: lock.Mutex, Symbol: "rtnl_mutex"}, "rtnl_mutex"},
		{lock.Lock{Kind: lock.RWSem, Object: &lock.Object{Type: "struct mm_struct", Member: "mmap_lock", PID: 256, Comm: "mmaphog"}}, "mmap_lock of process 256 mmaphog"},
		{lock.Lock{Kind: lock.RWSem, Object: &lock.Object{Type: "struct inode", Member: "i_rwsem", Path: "/mnt/f"}}, "i_rwsem of /mnt/f"},
		{lock.Lock{Kind: lock.FrozenFS, Object: &lock.Object{Type: "struct super_block", Member: "s_writers", Super: "ext4 vdb"}}, "s_writers of ext4 vdb"},
		{lock.Lock{Kind: lock.BitLock, Bit: 3, Symbol: "mp_bits"}, "bit 3 of mp_bits"},
		{lock.Lock{Kind: lock.Mutex, Addr: 0xffff888000001000}, "0xffff888000001000"},
	} {
		if got := Name(&c.lock); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

func ExampleBuild() {
	p := abba() // a snapshot, as lock.Reader gives it
	r := Build(&p.s)
	for _, d := range r.Deadlocks {
		fmt.Println(d.Confidence, "deadlock:", d.Text)
	}
	for _, root := range r.Roots {
		if root.Kind == RootTask {
			fmt.Println(root.Tasks[0].Comm, "blocks", root.Direct, "directly,", root.All, "in all")
		}
	}
	// Output:
	// certain deadlock: 100 "A" holds mutex m1, waits for mutex m2; 101 "B" holds mutex m2, waits for mutex m1
	// root blocks 1 directly, 2 in all
}

func TestRootOf(t *testing.T) {
	r := Build(&abba().s)
	for i, root := range r.RootOf() {
		name, kind := r.Graph.Tasks[i].Comm, RootTask
		if slices.Contains([]string{"A", "B", "late"}, name) {
			kind = RootDeadlock
		}
		if root < 0 || r.Roots[root].Kind != kind {
			t.Errorf("%s waits for root %d", name, root)
		}
	}
	p := newPlan()
	p.holds("A", "m1", lock.ByReader, lock.Hint)
	p.waits("A", "m1")
	p.task("idle")
	r = Build(&p.s)
	if got := r.RootOf(); !slices.Equal(got, []int{0, -1}) || r.Roots[0].Kind != RootLock {
		t.Errorf("%v, %+v", got, r.Roots)
	}
}

// TestPipeIsNoDeadlock: a process that has both ends of a pipe open wakes itself up by
// it; processes that wait for each other's pipes are suspected, as others may write.
func TestPipeIsNoDeadlock(t *testing.T) {
	p := newPlan()
	p.owns("A", "p1")
	p.waits("A", "p1")
	p.s.Locks[0].Kind = lock.Pipe
	r := Build(&p.s)
	if len(r.Deadlocks) != 0 || len(r.Roots) != 1 || r.Roots[0].Kind != RootLock || r.Roots[0].Why == "" {
		t.Errorf("%+v, %+v", r.Deadlocks, r.Roots)
	}
	p = newPlan()
	p.owns("A", "p1")
	p.waits("A", "p2")
	p.owns("B", "p2")
	p.waits("B", "p1")
	p.s.Locks[0].Kind, p.s.Locks[1].Kind = lock.Pipe, lock.Pipe
	r = Build(&p.s)
	if len(r.Deadlocks) != 1 || r.Deadlocks[0].Confidence != lock.Suspected {
		t.Errorf("%+v", r.Deadlocks)
	}
}

// TestNoAddress: tasks that wait for futexes at places that are not known do not wait
// for the same one.
func TestNoAddress(t *testing.T) {
	p := abba()
	p.waits("X", "futex")
	p.waits("Y", "futex")
	at := p.locks["futex"]
	p.s.Locks[at].Kind, p.s.Locks[at].Addr, p.s.Locks[at].Symbol = lock.Futex, 0, ""
	before := len(p.s.Waits)
	r := Build(&p.s)
	if len(r.Roots) != 2 || r.Blocked != 5 || len(r.Graph.Unexplained) != 2 || !strings.Contains(r.Graph.Unexplained[0].Why, "futex") {
		t.Errorf("%+v, %d blocked, %+v", r.Roots, r.Blocked, r.Graph.Unexplained)
	}
	if len(p.s.Waits) != before || len(p.s.Unexplained) != 0 {
		t.Error("the snapshot was changed")
	}
}
