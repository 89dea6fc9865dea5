package lock_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// TestOptimisticQueue: of two processors that wait for a mutex or rw_semaphore whose owner
// runs, one watches the owner and the other one is queued behind it (osq_lock).
func TestOptimisticQueue(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.EL7(), synthetic.V5_10(), synthetic.V6_1(), synthetic.V6_12(), synthetic.V7()} {
		for _, kind := range []lock.Kind{lock.Mutex, lock.RWSem} {
			t.Run(l.Name+"/"+tags[kind], func(t *testing.T) { checkOptimisticQueue(t, l, kind) })
		}
	}
}

func checkOptimisticQueue(t *testing.T, l *synthetic.Layout, kind lock.Kind) {
	m := newMachine(l, 4)
	obj := m.Var("the_lock", "struct "+tags[kind]).Object
	path := []string{"mutex_spin_on_owner", "__mutex_lock_slowpath.isra.0", "mutex_lock"}
	if kind == lock.RWSem {
		path = []string{"rwsem_spin_on_owner", "rwsem_down_write_slowpath", "down_write"}
		if l.Name == "3.10-el7" {
			path[1] = "rwsem_down_write_failed"
		}
	}
	spin := m.NewCode(path[0], 64).Enter(0).Nop(16).Leave()
	queue := m.NewCode("osq_lock", 64).Enter(0).Nop(16).Leave()
	slow := m.NewCode(path[1], 64).Enter(0x40).Call(path[0]).Call("osq_lock").Leave()
	fast := m.NewCode(path[2], 64).Enter(0).Load(synthetic.RDI, obj.Addr).Call(path[1]).Leave()
	user := m.NewCode("driver", 64).Enter(0).Load(synthetic.RDI, obj.Addr).Call(path[2]).Leave()
	work := m.NewCode("busy_with_it", 64).Enter(0).Nop(16).Leave()
	owner, first, second := m.task("owner"), m.task("watches"), m.task("queued")
	owner.RunOn(1, nil, synthetic.Frame{In: work, Offset: 12})
	outer := []synthetic.Frame{{In: fast, Calls: path[1]}, {In: user, Calls: path[2]}}
	first.RunOn(2, nil, append([]synthetic.Frame{{In: spin, Offset: 12}, {In: slow, Calls: path[0], Locals: 0x40}}, outer...)...)
	second.RunOn(3, nil, append([]synthetic.Frame{{In: queue, Offset: 12}, {In: slow, Calls: "osq_lock", Locals: 0x40}}, outer...)...)
	if !m.own(obj, kind, owner, 0) {
		t.Skip("the layout's lock has no owner, for which nobody spins then")
	}
	if obj.Has("wait_list") && kind == lock.Mutex {
		at := obj.At("wait_list")
		m.PutUint64(at, at)
		m.PutUint64(at+8, at)
	}
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	for _, task := range []*synthetic.Task{first, second} {
		w := p.wait[task.PID]
		if w == nil || p.Locks[w.Lock].Kind != kind || uint64(p.Locks[w.Lock].Addr) != obj.Addr || !w.Spinning {
			t.Errorf("%s: %+v, %+v, %+v", task.Comm, w, p.Locks, p.Unexplained)
		}
	}
	if _, ok := p.holders(obj.Addr, lock.Certain)[owner.PID]; !ok || len(p.Locks) != 1 {
		t.Errorf("%+v %+v", p.Holds, p.Locks)
	}
}
