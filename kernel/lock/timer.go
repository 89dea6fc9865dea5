package lock

import "github.com/kmortem/mortem/kernel"

// timerForm is struct hrtimer_sleeper, which a task that sleeps for a time has on its
// stack. Its node is in a tree of others like it: that can look like an entry of a
// list, a node's parent being the next and a child of it the one before.
type timerForm struct {
	ok     bool
	node   uint64
	fn     uint64
	wakeup uint64 // hrtimer_wakeup, the function of all
}

func (f *forms) readTimer(k *kernel.Kernel) {
	t := typeOf(k, "struct hrtimer_sleeper")
	wakeup, err := k.Symbol("hrtimer_wakeup")
	if t == nil || err != nil {
		return
	}
	var ok1, ok2 bool
	f.timer.node, ok1 = at(t, "timer.node.node")
	f.timer.fn, ok2 = at(t, "timer.function")
	f.timer.ok, f.timer.wakeup = ok1 && ok2, wakeup
}

// isTimer tells whether what is taken for a node of a list is that of a timer.
func (b *builder) isTimer(s *stack, node uint64) bool {
	f := &b.forms.timer
	at := node - f.node + f.fn
	return f.ok && s.holds(at, 8) && s.word(at) == f.wakeup
}
