package lock_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
)

// TestSituations compares the waits that user space made with what the guest wrote
// down about them: the kind of lock, who waits, who holds, and what the lock is.
func TestSituations(t *testing.T) {
	for _, boot := range boots {
		t.Run(boot.name, func(t *testing.T) {
			p := boot.picture(t)
			for _, s := range boot.facts(t).Situations {
				if s.Name == "futex" {
					continue // they sleep interruptibly, for whatever may come
				}
				for _, tid := range s.Waiters {
					checkSituation(t, p, boot.facts(t), s, tid)
				}
			}
		})
	}
}

func checkSituation(t *testing.T, p picture, facts *truth.Truth, s truth.Situation, tid int) {
	t.Helper()
	w := p.wait[tid]
	if w == nil {
		t.Errorf("%s: thread %d waits, and no wait was found", s.Name, tid)
		return
	}
	l := p.Locks[w.Lock]
	certain := p.holders(uint64(l.Addr), lock.Certain)
	for _, holder := range s.Holders {
		if h, ok := certain[holder]; !ok || len(certain) != 1 {
			t.Errorf("%s: thread %d holds the %s at %v, found %v %+v", s.Name, holder, l.Kind, l.Addr, certain, h)
		}
	}
	object := lock.Object{}
	if l.Object != nil {
		object = *l.Object
	}
	want := map[string]string{
		"flock":    "flock struct file " + s.Detail,
		"posix":    "POSIX lock struct file " + s.Detail,
		"inode":    "rw_semaphore struct inode i_rwsem " + s.Detail,
		"mmap":     "rw_semaphore struct mm_struct mmap_lock mmaphog " + strings.TrimPrefix(s.Detail, "process "),
		"freeze":   "frozen file system struct super_block s_writers.rw_sem[0] " + s.Detail,
		"rtnl":     "mutex rtnl_mutex",
		"pi-futex": "rt_mutex struct futex_pi_state pi_mutex",
		"pipe":     "pipe struct pipe_inode_info " + descriptorName(facts, s),
	}[s.Name]
	words := []string{string(l.Kind), l.Symbol, object.Type, object.Member, object.Comm, object.Path}
	if object.Comm != "" {
		words = append(words, fmt.Sprint(object.PID))
	}
	var got []string
	for _, word := range words {
		if word != "" {
			got = append(got, word)
		}
	}
	if strings.Join(got, " ") != want {
		t.Errorf("%s: found %q, want %q", s.Name, strings.Join(got, " "), want)
	}
}

// descriptorName is what /proc/PID/fd says of the pipe that a situation's waiter reads.
func descriptorName(facts *truth.Truth, s truth.Situation) string {
	var fd int
	if n, _ := fmt.Sscanf(s.Detail, "reads descriptor %d", &fd); n != 1 {
		return ""
	}
	for _, task := range facts.Tasks {
		if task.Pid == s.Waiters[0] {
			return task.FDs[fd]
		}
	}
	return ""
}

// TestPipe: the only one who has the other end of the planted pipe open is the one
// that reads from it.
func TestPipe(t *testing.T) {
	for _, boot := range boots {
		t.Run(boot.name, func(t *testing.T) {
			p := boot.picture(t)
			for _, s := range boot.facts(t).Situations {
				if s.Name == "pipe" {
					checkPipe(t, p, s)
				}
			}
		})
	}
}

func checkPipe(t *testing.T, p picture, s truth.Situation) {
	t.Helper()
	var read, held int
	if _, err := fmt.Sscanf(s.Detail, "reads descriptor %d, holds %d", &read, &held); err != nil {
		t.Fatal(err)
	}
	w := p.wait[s.Waiters[0]]
	if w == nil || w.Mode != lock.Read {
		t.Fatalf("the reader of the pipe: %+v", w)
	}
	h, ok := p.holders(uint64(p.Locks[w.Lock].Addr), lock.Certain)[s.Waiters[0]]
	if !ok || !strings.Contains(h.Evidence[0].Text, fmt.Sprintf("descriptor %d", held)) {
		t.Errorf("the pipe's other end is held by %+v", h)
	}
}

// TestRCU: the grace period that a task of the main boot waits for is held up by the
// processor on which the planted holder of a spinlock spins.
func TestRCU(t *testing.T) {
	p := boots[0].picture(t)
	var spinner int
	for _, player := range boots[0].facts(t).Plant.Players {
		switch player.Role {
		case "spin.hold":
			spinner = player.Tid
		case "rcu.sync":
			w := p.wait[player.Tid]
			if w == nil || p.Locks[w.Lock].Kind != lock.RCU {
				t.Fatalf("rcu.sync waits for %+v", w)
			}
			if h := p.holders(uint64(p.Locks[w.Lock].Addr), lock.Certain); len(h) != 1 || h[spinner].Method != lock.ByRecord {
				t.Errorf("the grace period is held up by %v", h)
			}
		}
	}
}

// TestReusedOwner: the module had a task take a mutex and exit. Its task_struct is
// another's by the time of the dump, which must not be taken for the owner.
func TestReusedOwner(t *testing.T) {
	p := boots[0].picture(t)
	for _, player := range boots[0].facts(t).Plant.Players {
		if player.Role != "gone.hold" {
			continue
		}
		for _, h := range p.Holds {
			if uint64(p.Locks[h.Lock].Addr) != hex(t, player.Holds) {
				continue
			}
			if owner := p.Tasks[h.Task]; owner.Gone == "" || uint64(owner.Addr) != hex(t, player.Task) || h.Sure == lock.Certain {
				t.Errorf("the owner that exited is said to be %+v, %s", owner, h.Sure)
			}
			return
		}
		t.Error("no owner was found")
	}
}

// TestQueue: the planted spinners of the main boot queue in the order in which they
// came, which is that of the module's list.
func TestQueue(t *testing.T) {
	p := boots[0].picture(t)
	place := 0
	for _, player := range boots[0].facts(t).Plant.Players {
		if player.Role != "spin.wait" {
			continue
		}
		w := p.wait[player.Tid]
		if w == nil || !w.Spinning || w.Position != place || !w.Known || w.For == 0 {
			t.Errorf("spinner %d, thread %d: %+v", place, player.Tid, w)
		}
		place++
	}
	if place != 2 {
		t.Fatalf("%d spinners were planted", place)
	}
}

// TestWaitOrder: waiters of one lock stand in its list in the order in which the
// guest had them come.
func TestWaitOrder(t *testing.T) {
	for _, boot := range boots {
		t.Run(boot.name, func(t *testing.T) { checkOrder(t, boot.picture(t), boot.facts(t)) })
	}
}

func checkOrder(t *testing.T, p picture, facts *truth.Truth) {
	t.Helper()
	next := map[int]int{}
	for _, player := range facts.Plant.Players {
		w := p.wait[player.Tid]
		if w == nil || w.Spinning || w.Methods[0] != lock.ByWaitList {
			continue
		}
		switch p.Locks[w.Lock].Kind {
		case lock.Mutex, lock.RWSem, lock.Semaphore, lock.Completion:
		default:
			continue
		}
		if w.Position != next[w.Lock] {
			t.Errorf("%s, thread %d, is number %d in the queue, want %d", player.Role, player.Tid, w.Position, next[w.Lock])
		}
		next[w.Lock]++
	}
	if len(next) < 5 {
		t.Errorf("only %d locks with queues", len(next))
	}
}

// TestFutexes: those that sleep interruptibly are there when they are asked for, and
// the planted waiters of one futex wait for the same one.
func TestFutexes(t *testing.T) {
	p := byThread(snapshot(t, kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main)), lock.Options{Interruptible: true, NoSuspects: true}))
	futexes := map[int]int{}
	for _, s := range boots[0].facts(t).Situations {
		if s.Name != "futex" {
			continue
		}
		for _, tid := range s.Waiters {
			w := p.wait[tid]
			if w == nil || p.Locks[w.Lock].Kind != lock.Futex || !strings.HasPrefix(p.Locks[w.Lock].Purpose, "shared") {
				t.Fatalf("thread %d: %+v", tid, w)
			}
			futexes[w.Lock]++
		}
	}
	if len(futexes) != 1 {
		t.Errorf("the waiters of one futex wait for %d", len(futexes))
	}
	others := 0
	for _, w := range p.Waits {
		if futexes[w.Lock] != 0 {
			others++
		}
	}
	if others != 3 {
		t.Errorf("%d tasks wait for the futex, planted 3", others)
	}
	if poll := boots[0].picture(t); len(poll.Waits) >= len(p.Waits) {
		t.Errorf("%d waits without the interruptible ones, %d with them", len(poll.Waits), len(p.Waits))
	}
}
