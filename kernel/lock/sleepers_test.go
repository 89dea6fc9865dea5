package lock_test

import (
	"fmt"

	"github.com/kmortem/mortem/fixtures/synthetic"
)

// innerRoom is what the innermost function of a sleeper has for local variables.
const innerRoom = 0x180

// sleepIn puts a task to sleep in functions, the innermost first, made at their first
// use. It returns where the local variables of the innermost begin: innerRoom bytes, of
// which the last eight stay free for an argument.
func (m *machine) sleepIn(t *synthetic.Task, path ...string) uint64 {
	if m.made == nil {
		m.made = map[string]*synthetic.Code{}
	}
	frames := []synthetic.Frame{{In: m.sched, Calls: "context_switch", Locals: 0x40}}
	calls, room := "__schedule", uint32(innerRoom)
	for _, name := range path {
		key := name + " " + calls
		c := m.made[key]
		if c == nil {
			if m.made[name] != nil { // it calls something else: the compiler made another one of it
				name += fmt.Sprintf(".part.%d", len(m.made))
			}
			c = m.NewCode(name, 64).Enter(room).Call(calls).Leave()
			m.made[key], m.made[name] = c, c
		}
		frames = append(frames, synthetic.Frame{In: c, Calls: calls, Locals: room})
		calls, room = c.Name, 0x20
	}
	return t.Sleep(frames...)[1] - innerRoom
}

// queueEntry makes at an address the entry of a task in a wait queue, whose head's
// address is given, and that a function wakes up. It is the only one.
func (m *machine) queueEntry(at, queue uint64, wake string, t *synthetic.Task) {
	if m.made == nil {
		m.made = map[string]*synthetic.Code{}
	}
	if m.made[wake] == nil {
		m.made[wake] = m.NewCode(wake, 16).Enter(0).Leave()
	}
	tag, list, head := "wait_queue_entry", "entry", uint64(8)
	if !m.Layout.HasStruct(tag) { // before 4.13
		tag, list = "__wait_queue", "task_list"
	}
	e := m.ObjectAt(tag, at)
	e.Set("private", t.Addr).Set("func", m.made[wake].Addr)
	for _, o := range []struct{ at, to uint64 }{{e.At(list), queue + head}, {queue + head, e.At(list)}} {
		m.PutUint64(o.at, o.to)
		m.PutUint64(o.at+8, o.to)
	}
}
