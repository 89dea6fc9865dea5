package lock_test

import (
	"context"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// withoutCode makes a snapshot for which no code is followed, so that holders are known
// by their stacks and registers only.
func withoutCode(t *testing.T, k *kernel.Kernel) picture {
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
	r, err := lock.Open(k, tasks, tracer, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.WithoutCode()
	s, err := r.Snapshot(context.Background(), lock.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return byThread(s)
}

// TestPlantedCarriers: where no code tells who holds a lock, its address gives away those
// of the planted holders that have it about them, and nobody else.
func TestPlantedCarriers(t *testing.T) {
	roles := map[string]bool{"spin.hold": true, "page.hold": true} // the others' locks are variables, in their code
	for _, boot := range boots {
		t.Run(boot.name, func(t *testing.T) {
			path := fixtures.Path
			if boot.onDemand {
				path = fixtures.OnDemand
			}
			p := withoutCode(t, kerneltest.Kernel(t, path(t, boot.file)))
			players := boot.facts(t).Plant.Players
			holder, awaited := map[uint64]map[int]bool{}, map[uint64]bool{}
			for _, player := range players {
				at := hex(t, player.Holds)
				if holder[at] == nil {
					holder[at] = map[int]bool{}
				}
				holder[at][player.Tid] = true
				awaited[hex(t, player.Waits)] = true
			}
			found := 0
			for _, player := range players {
				at := hex(t, player.Holds)
				if !roles[player.Role] || !awaited[at] {
					continue
				}
				h, ok := p.holders(at, lock.Suspected)[player.Tid]
				if !ok || h.Method != lock.ByStack || h.Evidence[0].Value != kernel.Addr(at) || !strings.HasPrefix(h.Evidence[0].Function, "mp_") {
					t.Errorf("%s, thread %d: %+v", player.Role, player.Tid, h)
				}
				found++
			}
			for _, h := range p.Holds {
				if l := p.Locks[h.Lock]; h.Method == lock.ByStack && !holder[uint64(l.Addr)][int(p.Tasks[h.Task].PID)] {
					t.Errorf("%s at %v: %d %s is named, which has not taken it: %+v", l.Kind, l.Addr, p.Tasks[h.Task].PID, p.Tasks[h.Task].Comm, h)
				}
			}
			if found == 0 {
				t.Error("nobody planted has a lock's address about it")
			}
		})
	}
}

// carriers is a machine with a task that waits for a semaphore, and others that have its
// address on their stacks.
type carriers struct {
	*machine
	sem  synthetic.Object
	code map[string]*synthetic.Code
}

const carrierRoom = 0x40

func newCarriers(l *synthetic.Layout) *carriers {
	m := newMachine(l, 1)
	c := &carriers{machine: m, sem: m.Alloc("semaphore"), code: map[string]*synthetic.Code{}}
	m.NewCode("down", 32).Enter(0).Leave()
	m.NewCode("up", 32).Enter(0).Leave()
	at := c.sem.Addr
	enter := func(name string) *synthetic.Code {
		c.code[name] = m.NewCode(name, 128).Enter(carrierRoom)
		return c.code[name]
	}
	enter("stores").Keep(-0x18, synthetic.RDI).Call("__schedule").Leave()
	enter("does_not_store").Call("__schedule").Leave()
	enter("stores_too_late").Call("__schedule").Keep(-0x18, synthetic.RDI).Leave()
	enter("gives_back").Load(synthetic.RDI, at).Keep(-0x18, synthetic.RDI).Call("down").Load(synthetic.RDI, at).Call("up").Call("__schedule").Leave()
	enter("saves").Push(synthetic.RBX).Call("__schedule").Leave()
	enter("calls_saves").Load(synthetic.RBX, at).Call("saves").Leave()
	outer := enter("outer")
	for _, name := range []string{"stores", "does_not_store", "stores_too_late", "gives_back", "calls_saves"} {
		outer.Call(name)
	}
	outer.Leave()
	_, w := m.waiter("waits", lock.Semaphore, at, "")
	m.link(c.sem, []synthetic.Object{w})
	c.sem.Set("count", 0)
	return c
}

// has makes a task that sleeps in one of the functions, with the semaphore's address at
// an offset from its frame pointer, and returns its number.
func (c *carriers) has(name string, offset int64) int {
	t := c.task(name)
	frames := []synthetic.Frame{{In: c.sched, Calls: "context_switch", Locals: 0x40}, {In: c.code[name], Calls: "__schedule", Locals: carrierRoom}}
	if name == "saves" {
		frames[1].Locals += 8
		frames = append(frames, synthetic.Frame{In: c.code["calls_saves"], Calls: name, Locals: carrierRoom})
	}
	last := frames[len(frames)-1].In.Name
	bases := t.Sleep(append(frames, synthetic.Frame{In: c.code["outer"], Calls: last, Locals: carrierRoom})...)
	c.PutUint64(bases[1]+uint64(offset), c.sem.Addr)
	return t.PID
}

// TestCarriers: an address that a function has stored in its frame, or a saved register
// that has it, makes a suspect; one that an earlier call may have left is a hint at most.
func TestCarriers(t *testing.T) {
	for _, layout := range []func() *synthetic.Layout{synthetic.EL6, synthetic.V6_1} {
		for _, test := range []struct {
			in     string
			offset int64
			want   lock.Confidence // empty: not named
			inside string
		}{
			{"stores", -0x18, lock.Suspected, "stores"},
			{"does_not_store", -0x18, lock.Hint, "does_not_store"},
			{"stores_too_late", -0x18, lock.Hint, "stores_too_late"},
			{"stores", -0x28, lock.Hint, "stores"}, // another place in its frame
			{"saves", -carrierRoom - 8, lock.Suspected, "calls_saves"},
			{"gives_back", -0x18, "", ""},
			{"stores", -0x200, "", ""}, // below the stack pointer
		} {
			c := newCarriers(layout())
			pid := c.has(test.in, test.offset)
			p := byThread(snapshot(t, c.open(t), lock.Options{}))
			got, inside := lock.Confidence(""), ""
			for _, h := range p.Holds {
				if int(p.Tasks[h.Task].PID) == pid && uint64(p.Locks[h.Lock].Addr) == c.sem.Addr && h.Method == lock.ByStack {
					got, inside = h.Sure, h.Evidence[0].Function
				}
			}
			if got != test.want || inside != test.inside {
				t.Errorf("%s: %s at %#x: %q in %q, want %q in %q", c.Layout.Name, test.in, test.offset, got, inside, test.want, test.inside)
			}
		}
	}
}

// TestCarriersBesideOneAnother: a hint is not told where there is a suspect.
func TestCarriersBesideOneAnother(t *testing.T) {
	c := newCarriers(synthetic.V6_1())
	hint, suspect := c.has("does_not_store", -0x18), c.has("stores", -0x18)
	p := byThread(snapshot(t, c.open(t), lock.Options{}))
	if s := p.holders(c.sem.Addr, lock.Suspected); len(s) != 1 || s[suspect].Method != lock.ByStack {
		t.Errorf("suspected are %+v", s)
	}
	if h := p.holders(c.sem.Addr, lock.Hint); len(h) > 0 {
		t.Errorf("%d is hinted at: %+v", hint, h)
	}
}
