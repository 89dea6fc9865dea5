package lock_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
	"github.com/kmortem/mortem/kernel/vfs"
)

// boot is a dump with what its guest planted.
type boot struct {
	name, scenario, file string
	onDemand             bool
}

// boots are the committed dumps, and those of each boot that the capture command
// makes: small is the one whose spinlocks are test-and-set.
var boots = []boot{
	{"main", "main", "main/vmcore.kdump", false},
	{"kdump", "kdump", "kdump/vmcore.kdump.xz", false},
	{"main on demand", "main", "main/makedumpfile.zstd", true},
	{"small on demand", "small", "small/makedumpfile.zstd", true},
}

func (b boot) facts(t testing.TB) *truth.Truth {
	if b.onDemand {
		return fixtures.OnDemandTruth(t, b.scenario)
	}
	return fixtures.Truth(t, b.scenario)
}

var (
	pictures = map[string]picture{}
	drawing  sync.Mutex
)

// picture is the snapshot of the boot, made once.
func (b boot) picture(t testing.TB) picture {
	t.Helper()
	drawing.Lock()
	defer drawing.Unlock()
	if p, ok := pictures[b.name]; ok {
		return p
	}
	path := fixtures.Path
	if b.onDemand {
		path = fixtures.OnDemand
	}
	p := byThread(snapshot(t, kerneltest.Kernel(t, path(t, b.file)), lock.Options{}))
	pictures[b.name] = p
	return p
}

func snapshot(t testing.TB, k *kernel.Kernel, opt lock.Options) *lock.Snapshot {
	t.Helper()
	modules, _ := module.Attach(k) // without modules, their locks have no names
	tracer, err := unwind.New(k, modules)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	fs, _ := vfs.Open(k) // without it, locks have no paths
	r, err := lock.Open(k, tasks, tracer, fs)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Snapshot(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hex(t testing.TB, s string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// picture is a snapshot by thread id.
type picture struct {
	*lock.Snapshot
	wait map[int]*lock.Wait
}

func byThread(s *lock.Snapshot) picture {
	p := picture{s, map[int]*lock.Wait{}}
	for i := range s.Waits {
		p.wait[int(s.Tasks[s.Waits[i].Task].PID)] = &s.Waits[i]
	}
	return p
}

// holders are those that a lock's holds of a confidence name.
func (p picture) holders(addr uint64, sure ...lock.Confidence) map[int]lock.Hold {
	found := map[int]lock.Hold{}
	for _, h := range p.Holds {
		if uint64(p.Locks[h.Lock].Addr) != addr {
			continue
		}
		for _, c := range sure {
			if h.Sure == c {
				found[int(p.Tasks[h.Task].PID)] = h
			}
		}
	}
	return found
}

// kinds are the module's words for locks.
var kinds = map[string]lock.Kind{
	"mutex": lock.Mutex, "rw_semaphore": lock.RWSem, "semaphore": lock.Semaphore, "rt_mutex": lock.RTMutex,
	"ww_mutex": lock.WWMutex, "completion": lock.Completion, "wait_queue_head": lock.WaitQueue,
	"percpu_rw_semaphore": lock.PercpuRWSem, "srcu_struct": lock.SRCU, "spinlock": lock.Spinlock,
	"bit lock, bit 3": lock.BitLock, "folio lock": lock.FolioLock, "work_struct": lock.Work,
}

// TestPlantedWaiters holds each task that the guest's module had wait against what
// the module said.
func TestPlantedWaiters(t *testing.T) {
	for _, boot := range boots {
		t.Run(boot.name, func(t *testing.T) {
			p := boot.picture(t)
			facts := boot.facts(t)
			kindOf := map[string]string{}
			for _, l := range facts.Plant.Locks {
				kindOf[l.Address] = l.Kind
			}
			checked := 0
			for _, player := range facts.Plant.Players {
				waits := hex(t, player.Waits)
				if waits == 0 {
					continue
				}
				checked++
				w := p.wait[player.Tid]
				if w == nil {
					t.Errorf("%s, thread %d: no wait was found", player.Role, player.Tid)
					continue
				}
				l := p.Locks[w.Lock]
				if uint64(l.Addr) != waits || l.Kind != kinds[kindOf[player.Waits]] {
					t.Errorf("%s, thread %d: waits for the %s at %v, found the %s at %v", player.Role, player.Tid, kindOf[player.Waits], player.Waits, l.Kind, l.Addr)
				}
				if w.Sure == lock.Suspected || w.Sure == lock.Hint {
					t.Errorf("%s: only %s", player.Role, w.Sure)
				}
				checkMode(t, player, w)
			}
			if checked < 14 {
				t.Errorf("only %d waiters were planted", checked)
			}
		})
	}
}

// checkMode compares the mode with the role's name.
func checkMode(t *testing.T, player truth.Player, w *lock.Wait) {
	t.Helper()
	want := lock.Mode("")
	switch _, part, _ := strings.Cut(player.Role, "."); {
	case strings.Contains(player.Role, "rw") && part == "read", strings.HasPrefix(player.Role, "percpu") && part == "read", player.Role == "cycle.a":
		want = lock.Read
	case strings.Contains(player.Role, "rw") && part == "write", strings.HasPrefix(player.Role, "percpu") && part == "write":
		want = lock.Write
	}
	if w.Mode != want {
		t.Errorf("%s waits with mode %q, want %q", player.Role, w.Mode, want)
	}
}

// owned are the kinds whose owner is written in the lock.
var owned = map[lock.Kind]bool{lock.Mutex: true, lock.WWMutex: true, lock.RTMutex: true}

// TestPlantedHolders: each lock with an owner names the task that the module had
// take it, and no other one for certain.
func TestPlantedHolders(t *testing.T) {
	for _, boot := range boots {
		t.Run(boot.name, func(t *testing.T) {
			p := boot.picture(t)
			facts := boot.facts(t)
			holds := map[uint64]map[int]string{}
			for _, player := range facts.Plant.Players {
				if at := hex(t, player.Holds); at != 0 {
					if holds[at] == nil {
						holds[at] = map[int]string{}
					}
					holds[at][player.Tid] = player.Role
				}
			}
			for _, l := range p.Locks {
				want := holds[uint64(l.Addr)]
				certain := p.holders(uint64(l.Addr), lock.Certain)
				for tid := range certain {
					if want != nil && want[tid] == "" {
						t.Errorf("%s at %v: thread %d is said to hold it for certain, which the module does not say", l.Kind, l.Addr, tid)
					}
				}
				for tid, role := range want {
					writer := l.Kind == lock.RWSem && !strings.HasPrefix(role, "rwsem_r")
					if (owned[l.Kind] || writer) && role != "gone.hold" && len(certain) != 1 {
						t.Errorf("%s at %v is held by %s, thread %d; found %v", l.Kind, l.Addr, role, tid, certain)
					}
				}
			}
		})
	}
}
