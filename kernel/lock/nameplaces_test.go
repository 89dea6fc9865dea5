package lock_test

import (
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/task"
)

// named is a machine with a task that waits for a mutex at an address, and the name that
// the mutex got.
func named(t *testing.T, place func(m *machine) (mutex uint64)) *lock.Lock {
	t.Helper()
	m := newMachineOn(synthetic.V6_1(), synthetic.Machine{CPUs: 2, RAM: 64 << 20, MemMap: true})
	at := place(m)
	_, w := m.waiter("waits", lock.Mutex, at, "")
	m.link(m.ObjectAt("mutex", at), []synthetic.Object{w})
	s := snapshot(t, m.open(t), lock.Options{})
	for i := range s.Locks {
		if uint64(s.Locks[i].Addr) == at && s.Locks[i].Kind == lock.Mutex {
			return &s.Locks[i]
		}
	}
	t.Fatalf("nobody waits for the mutex at %#x: %+v", at, s.Locks)
	return nil
}

// inModule is a struct module in memory of kmalloc, which stands for any driver's own
// structure, and its mutex.
func inModule(m *machine) (object, mutex uint64) {
	object = m.Kmalloc(m.Layout.Size("module"))
	return object, m.ObjectAt("module", object).At("param_lock")
}

// TestNameByVariable: the type of an object of kmalloc is known by a variable that points
// to it, of those that may be anywhere in the kernel's data; not by one of another type,
// or one that points to another object.
func TestNameByVariable(t *testing.T) {
	for _, c := range []struct {
		name, typ string
		off       int64 // of what the pointer points to from the object
		want      bool
	}{
		{"the_driver", "struct module *", 0, true},
		{"other_type", "struct inode *", 1 << 16, false},
		{"somewhere_else", "struct module *", 8, false},
		{"number", "unsigned long", 0, false},
	} {
		object := uint64(0)
		l := named(t, func(m *machine) uint64 {
			at, mutex := inModule(m)
			object = at
			m.SetVar(c.name, c.typ, at+uint64(c.off))
			return mutex
		})
		o := l.Object
		if o == nil || !strings.HasPrefix(o.Cache, "kmalloc-") || uint64(o.Addr) != object {
			t.Fatalf("%s: %+v", c.name, o)
		}
		typed := o.Type == "struct module" && o.Member == "param_lock" && strings.Contains(o.By, "the variable "+c.name)
		if typed != c.want || !typed && o.Type != "" {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
}

// TestNameInVmalloc: what lies in an area of vmalloc is named by that, and by its type if
// a variable tells it.
func TestNameInVmalloc(t *testing.T) {
	area := uint64(0)
	place := func(m *machine) uint64 {
		area = m.Vmalloc(2 * 4096)
		return m.ObjectAt("module", area+64).At("param_lock")
	}
	l := named(t, place)
	if o := l.Object; o == nil || uint64(o.Addr) != area || o.Type != "vmalloc area" || !strings.Contains(o.By, "vmap_area") {
		t.Errorf("%+v", o)
	}
	l = named(t, func(m *machine) uint64 {
		mutex := place(m)
		m.SetVar("the_driver", "struct module *", area+64)
		return mutex
	})
	if o := l.Object; o == nil || uint64(o.Addr) != area+64 || o.Type != "struct module" || o.Member != "param_lock" {
		t.Errorf("%+v", o)
	}
}

// TestNameInPerCPU: a processor's copy of a variable is named with the processor.
func TestNameInPerCPU(t *testing.T) {
	l := named(t, func(m *machine) uint64 {
		return m.ObjectAt("module", m.PerCPU("driver_of_cpu", "struct module")[1].Addr).At("param_lock")
	})
	if l.Symbol != "driver_of_cpu.param_lock of CPU 1" || l.Object == nil || l.Object.By != "area of CPU 1" {
		t.Errorf("%q, %+v", l.Symbol, l.Object)
	}
}

// TestNameInVariable: a lock in a variable is named by the member.
func TestNameInVariable(t *testing.T) {
	l := named(t, func(m *machine) uint64 {
		return m.ObjectAt("module", m.Var("all_drivers", "struct module [3]").Addr+2*m.Layout.Size("module")).At("param_lock")
	})
	if l.Symbol != "all_drivers[2].param_lock" {
		t.Errorf("%q", l.Symbol)
	}
}

// TestNameOnStack: a lock on another task's stack is named by the task and the function
// in whose frame it lies.
func TestNameOnStack(t *testing.T) {
	owner := 0
	l := named(t, func(m *machine) uint64 {
		t := m.task("owner")
		owner = t.PID
		bases := t.Sleep(synthetic.Frame{In: m.sched, Calls: "context_switch", Locals: 0x40}, synthetic.Frame{In: m.caller, Calls: "__schedule", Locals: 0x40})
		return bases[0] - 0x30
	})
	o := l.Object
	if o == nil || o.Type != "kernel stack" || int(o.PID) != owner || o.Member != "in the frame of __schedule" {
		t.Errorf("%+v", o)
	}
}

// TestNameOnDeadStack: what lies below the stack pointer is not there any more.
func TestNameOnDeadStack(t *testing.T) {
	l := named(t, func(m *machine) uint64 {
		t := m.task("owner")
		bases := t.Sleep(synthetic.Frame{In: m.sched, Calls: "context_switch", Locals: 0x40}, synthetic.Frame{In: m.caller, Calls: "__schedule", Locals: 0x40})
		return bases[0] - 0x400
	})
	if o := l.Object; o == nil || !strings.HasPrefix(o.Member, "below its stack pointer") {
		t.Errorf("%+v", o)
	}
}

// TestNameLocalVariable: the waiter of one who waits for a mutex is the variable that
// __mutex_lock_common calls so (kernel/locking/mutex.c).
func TestNameLocalVariable(t *testing.T) {
	main := boots[0]
	k := kerneltest.Kernel(t, fixtures.Path(t, main.file))
	tr := tracing(t, k)
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	p := main.picture(t)
	checked := 0
	for _, w := range p.Waits {
		if p.Locks[w.Lock].Kind != lock.Mutex || w.Evidence.Slot == 0 {
			continue
		}
		tk, err := tasks.At(uint64(p.Tasks[w.Task].Addr))
		if err != nil {
			t.Fatal(err)
		}
		name, function := tr.LocalAt(tk, uint64(w.Evidence.Slot))
		if checked++; !strings.HasPrefix(name, "waiter") || !strings.HasPrefix(function, "__mutex_lock") {
			t.Errorf("%d %s: %q of %q", tk.PID, tk.Comm, name, function)
		}
	}
	if checked < 5 {
		t.Errorf("only %d wait for mutexes", checked)
	}
}
