package lock_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// The beginning of struct rcu_node: of 3.10 by its sources, of 5.10, and of 6.1 to 7.2, by
// the BTF of Debian's kernels.
const (
	rcuNode3 = `
struct rcu_node 128
8 8 gpnum unsigned long
16 8 completed unsigned long
24 8 qsmask unsigned long
32 8 expmask unsigned long
40 8 qsmaskinit unsigned long
48 8 grpmask unsigned long
56 4 grplo int
60 4 grphi int
64 1 grpnum u8
65 1 level u8
72 8 parent struct rcu_node *
80 16 blkd_tasks struct list_head
96 8 gp_tasks struct list_head *
104 8 exp_tasks struct list_head *
edit task_struct
2600 16 rcu_node_entry struct list_head
size 2616
` + rcuState
	rcuNode5 = `
struct rcu_node 192
8 8 gp_seq unsigned long
32 8 qsmask unsigned long
72 8 expmask unsigned long
112 8 grpmask unsigned long
120 4 grplo int
124 4 grphi int
128 1 grpnum u8
129 1 level u8
136 8 parent struct rcu_node *
144 16 blkd_tasks struct list_head
160 8 gp_tasks struct list_head *
168 8 exp_tasks struct list_head *
176 8 boost_tasks struct list_head *
edit task_struct
9344 16 rcu_node_entry struct list_head
size 9408
` + rcuState
	rcuNode6 = `
struct rcu_node 192
8 8 gp_seq unsigned long
32 8 qsmask unsigned long
64 8 expmask unsigned long
112 8 grpmask unsigned long
120 4 grplo int
124 4 grphi int
128 1 grpnum u8
129 1 level u8
136 8 parent struct rcu_node *
144 16 blkd_tasks struct list_head
160 8 gp_tasks struct list_head *
168 8 exp_tasks struct list_head *
176 8 boost_tasks struct list_head *
` + rcuState
	rcuState = `
struct rcu_state 1024
0 576 node struct rcu_node [3]
`
)

// rcuMachine is a synthetic kernel with CONFIG_PREEMPT_RCU and a tree of two levels.
type rcuMachine struct {
	*machine
	leaf synthetic.Object
}

func newRCUMachine(l *synthetic.Layout, symbol string) *rcuMachine {
	m := &rcuMachine{machine: newMachine(l, 4)}
	state := m.Var(symbol, "struct rcu_state").Object
	size := uint64(m.Layout.Size("rcu_node"))
	for n := range uint64(3) {
		node := m.ObjectAt("rcu_node", state.At("node")+n*size)
		head := node.At("blkd_tasks")
		m.PutUint64(head, head)
		m.PutUint64(head+8, head)
		if n > 0 {
			node.Set("level", 1).Set("grpnum", n-1).Set("grplo", 16*(n-1)).Set("grphi", 16*n-1).Set("parent", state.At("node"))
		}
		if n == 1 {
			m.leaf = node
		}
	}
	return m
}

// blocked puts preempted readers on the leaf's list, the newest first.
func (m *rcuMachine) blocked(tasks ...*synthetic.Task) {
	ring := []uint64{m.leaf.At("blkd_tasks")}
	for _, t := range tasks {
		ring = append(ring, t.At("rcu_node_entry"))
	}
	for i, n := range ring {
		next := ring[(i+1)%len(ring)]
		m.PutUint64(n, next)
		m.PutUint64(next+8, n)
	}
}

// completes puts a task to sleep for a completion of its own.
func (m *machine) completes(comm string, path ...string) *synthetic.Task {
	t, _ := m.completesAt(comm, path...)
	return t
}

// completesAt returns where the completion is, too: 0x100 bytes into the room.
func (m *machine) completesAt(comm string, path ...string) (*synthetic.Task, uint64) {
	t := m.task(comm)
	room := m.sleepIn(t, append([]string{"schedule_timeout", "wait_for_completion"}, path...)...)
	c := m.ObjectAt("completion", room+0x100)
	if m.Layout.HasStruct("swait_queue_head") && m.Layout.Name != "5.4" && m.Layout.Name != "4.18-el8" { // since 5.7
		e, head := m.ObjectAt("swait_queue", room+8), c.At("wait.task_list")
		e.Set("task", t.Addr)
		for _, o := range []struct{ at, to uint64 }{{e.At("task_list"), head}, {head, e.At("task_list")}} {
			m.PutUint64(o.at, o.to)
			m.PutUint64(o.at+8, o.to)
		}
		return t, c.Addr
	}
	m.queueEntry(room+8, c.At("wait"), "default_wake_function", t)
	return t, c.Addr
}

// TestPreemptedReaders: a grace period is held up by the processors that have not been
// through a quiescent state, and by readers that were preempted before it began; an
// expedited one by others.
func TestPreemptedReaders(t *testing.T) {
	for _, c := range []struct {
		layout *synthetic.Layout
		forms  string
		symbol string
	}{{synthetic.EL7(), rcuNode3, "rcu_preempt_state"}, {synthetic.V5_10(), rcuNode5, "rcu_state"}, {synthetic.V6_1(), rcuNode6, "rcu_state"}, {synthetic.V6_12(), rcuNode6, "rcu_state"}} {
		t.Run(c.layout.Name, func(t *testing.T) { checkPreemptedReaders(t, newRCUMachine(c.layout.Extend(c.forms), c.symbol)) })
	}
}

func checkPreemptedReaders(t *testing.T, m *rcuMachine) {
	work := m.NewCode("reads_for_long", 64).Enter(0).Nop(16).Leave()
	var running []*synthetic.Task
	for cpu := range 4 {
		task := m.task(fmt.Sprintf("runs%d", cpu))
		task.SetAny(0, "__state", "state")
		task.RunOn(cpu, nil, synthetic.Frame{In: work, Offset: 12})
		running = append(running, task)
	}
	var readers []*synthetic.Task
	for i := range 3 {
		readers = append(readers, m.sleeper(fmt.Sprintf("reader%d", i)))
	}
	m.blocked(readers...) // the first came when the grace period had begun
	m.leaf.Set("qsmask", 1<<2).Set("gp_tasks", readers[1].At("rcu_node_entry"))
	m.leaf.Set("exp_tasks", readers[2].At("rcu_node_entry"))
	normal := m.completes("waits", "__wait_rcu_gp", "synchronize_rcu", "unregister_netdevice_many")
	expedited := m.completes("hurries", "synchronize_rcu_expedited", "synchronize_net")
	m.leaf.Set("expmask", 1<<1|1<<3)
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	for _, c := range []struct {
		waiter *synthetic.Task
		want   []*synthetic.Task
	}{{normal, []*synthetic.Task{running[2], readers[1], readers[2]}}, {expedited, []*synthetic.Task{running[1], running[3], readers[2]}}} {
		w := p.wait[c.waiter.PID]
		if w == nil || p.Locks[w.Lock].Kind != lock.RCU {
			t.Fatalf("%s: %+v %+v %+v", c.waiter.Comm, w, p.Locks, p.Unexplained)
		}
		got := map[int]bool{}
		for _, h := range p.Holds {
			if h.Lock == w.Lock && h.Sure == lock.Certain && h.Mode == lock.Read {
				got[int(p.Tasks[h.Task].PID)] = true
			}
		}
		for _, task := range c.want {
			if !got[task.PID] {
				t.Errorf("%s: %s is not named", c.waiter.Comm, task.Comm)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %d are named, want %d: %+v", c.waiter.Comm, len(got), len(c.want), p.Holds)
		}
		if l := p.Locks[w.Lock]; !l.Held || l.State != "3 processors or readers awaited" {
			t.Errorf("%+v", l)
		}
	}
}
