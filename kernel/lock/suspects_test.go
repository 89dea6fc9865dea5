package lock_test

import (
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
)

// suspectRoles are the parts that held a lock that does not say who holds it.
var suspectRoles = map[string]bool{"sem.hold": true, "percpu_w.hold": true, "percpu_r.hold": true, "bit.hold": true, "page.hold": true,
	"srcu.read": true, "spin.hold": true, "rwsem_r.hold": true}

// TestPlantedSuspects: for locks without an owner those that the module had take
// them are suspected, and nobody else, by the call that took it.
func TestPlantedSuspects(t *testing.T) {
	for _, boot := range boots {
		t.Run(boot.name, func(t *testing.T) {
			p := boot.picture(t)
			holds := map[uint64]map[int]bool{}
			for _, player := range boot.facts(t).Plant.Players {
				if !suspectRoles[player.Role] {
					continue
				}
				addr := hex(t, player.Holds)
				if holds[addr] == nil {
					holds[addr] = map[int]bool{}
				}
				holds[addr][player.Tid] = true
				h, ok := p.holders(addr, lock.Suspected)[player.Tid]
				if !ok || h.Method != lock.ByCode {
					t.Errorf("%s, thread %d, is not suspected by its code: %+v", player.Role, player.Tid, h)
					continue
				}
				// The counter and the slow path of a percpu_rw_semaphore are two ways to it.
				e, all := h.Evidence[0], player.Role == "percpu_r.hold" || strings.Contains(h.Evidence[0].Text, "on any way")
				if !all || !strings.HasPrefix(e.Function, "mp_") || !strings.HasPrefix(e.CallName, e.Function+"+") || e.Called == "" {
					t.Errorf("%s: the evidence is %+v", player.Role, e)
				}
			}
			if len(holds) < 3 {
				t.Fatalf("only %d locks without an owner were planted", len(holds))
			}
			for _, h := range p.Holds {
				want := holds[uint64(p.Locks[h.Lock].Addr)]
				if h.Sure == lock.Suspected && want != nil && !want[int(p.Tasks[h.Task].PID)] {
					t.Errorf("%s at %v: %d %s is suspected, which did not take it: %+v", p.Locks[h.Lock].Kind, p.Locks[h.Lock].Addr,
						p.Tasks[h.Task].PID, p.Tasks[h.Task].Comm, h.Evidence)
				}
			}
		})
	}
}

// TestNoSuspects: without inference only what the locks say is left.
func TestNoSuspects(t *testing.T) {
	s := snapshot(t, kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main)), lock.Options{NoSuspects: true})
	for _, h := range s.Holds {
		if h.Sure == lock.Suspected && s.Locks[h.Lock].Kind != lock.Pipe {
			t.Errorf("%s: %+v", s.Locks[h.Lock].Kind, h)
		}
	}
}
