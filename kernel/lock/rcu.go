package lock

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
)

// rcuWait makes of a wait for a completion of the task's own what it is: one for
// the end of a grace period.
func (b *builder) rcuWait(s *stack, f *found, i int) {
	f.kind, f.frame = RCU, i
	f.addr, f.ring = b.rcuState(s.frames[i].fn.name), nil
	f.pos = -1
	if name := s.frames[i].fn.name; strings.Contains(name, "expedited") || strings.HasPrefix(name, "rcu_exp_") || s.has("synchronize_rcu_expedited") || s.has("synchronize_sched_expedited") {
		f.bit = 1 // keeps the two sorts of grace periods apart
	}
}

// rcuState is the struct rcu_state: one since 4.20, one for each flavour before.
func (b *builder) rcuState(function string) uint64 {
	names := []string{"rcu_state", "rcu_preempt_state", "rcu_sched_state"}
	if strings.Contains(function, "sched") || function == "synchronize_kernel" {
		names = []string{"rcu_sched_state", "rcu_state"}
	}
	if strings.HasSuffix(function, "_bh") {
		names = []string{"rcu_bh_state", "rcu_state"}
	}
	for _, n := range names {
		if addr, err := b.k.Symbol(n); err == nil {
			return addr
		}
	}
	return 0
}

// rcuForm is struct rcu_node and what of struct rcu_state leads to it.
type rcuForm struct {
	kernel.Layout `kernel:"struct rcu_node"`
	QSMask        kernel.Uint `kernel:"qsmask"`
	ExpMask       kernel.Uint `kernel:"expmask,optional"`
	Low           kernel.U32  `kernel:"grplo"`
	High          kernel.U32  `kernel:"grphi"`
	Level         kernel.Uint `kernel:"level"`
	Blocked       kernel.U64  `kernel:"blkd_tasks.next,optional"`
	GPTasks       kernel.U64  `kernel:"gp_tasks,optional"`
	ExpTasks      kernel.U64  `kernel:"exp_tasks,optional"`
	Seq           kernel.Uint `kernel:"gp_seq|gpnum,optional"` // renamed in 4.19
}

// maxNodes bounds the nodes of the tree: those for 8192 processors.
const maxNodes = 1024

// rcuHolders finds what keeps a grace period from ending: processors that have not
// been through a quiescent state, and readers that were preempted.
func (b *builder) rcuHolders(i int) {
	l := &b.snap.Locks[i]
	l.Symbol = b.symbol(uint64(l.Addr))
	exp := l.Bit == 1
	l.Purpose = "end of a grace period"
	if exp {
		l.Purpose = "end of an expedited grace period"
	}
	var form rcuForm
	state := typeOf(b.k, "struct rcu_state")
	if state == nil || l.Addr == 0 || b.k.Resolve(&form) != nil {
		l.NoHolder = "the kernel's state of RCU is not known"
		return
	}
	nodes, err := state.Field("node")
	if err != nil || nodes.Type.Strip().Count <= 0 {
		l.NoHolder = "the tree of RCU is not known"
		return
	}
	count := min(int(nodes.Type.Strip().Count), maxNodes)
	leaf := uint64(0)
	var all [][]byte
	for n := range count {
		node := make([]byte, form.Size())
		if _, err := b.k.Read(node[:form.Span()], uint64(l.Addr)+uint64(nodes.Offset)+uint64(n*form.Size())); err != nil {
			b.fail(fmt.Errorf("struct rcu_node %d: %w", n, err))
			continue
		}
		leaf = max(leaf, form.Level.Get(node))
		all = append(all, node)
	}
	waiting := 0
	for _, node := range all {
		if form.Level.Get(node) == leaf {
			waiting += b.rcuNode(i, &form, node, exp)
		}
	}
	l = &b.snap.Locks[i]
	l.Held, l.HeldKnown = waiting > 0, true
	l.State = plural(uint64(waiting), "processor or reader") + " awaited"
	if waiting == 0 {
		l.NoHolder = "no processor or reader is awaited: the grace period has not begun, or its kernel thread has yet to end it"
	}
}

// rcuNode adds what a leaf of the tree waits for, and counts it.
func (b *builder) rcuNode(i int, form *rcuForm, node []byte, exp bool) int {
	mask := form.QSMask.Get(node)
	first := form.GPTasks
	if exp && form.ExpMask.Has() {
		mask, first = form.ExpMask.Get(node), form.ExpTasks
	}
	n := 0
	for bit := 0; bit < 64; bit++ {
		if mask>>bit&1 != 0 {
			n++
			b.rcuCPU(i, int(form.Low.Get(node))+bit, mask)
		}
	}
	if first.Has() && first.Get(node) != 0 {
		n += b.rcuReaders(i, first.Get(node))
	}
	return n
}

// rcuCPU names the task on a processor that has not reported.
func (b *builder) rcuCPU(i, cpu int, mask uint64) {
	for c := range b.cpus {
		o := &b.cpus[c]
		if o.Number != cpu || o.Task == nil {
			continue
		}
		text := fmt.Sprintf("CPU %d has not been through a quiescent state (rcu_node.%s)", cpu, map[bool]string{false: "qsmask", true: "expmask"}[b.snap.Locks[i].Bit == 1])
		sure := Certain
		if o.Task.Addr == o.Idle {
			sure = Hint
			text += ", but is idle, which counts as one as soon as someone looks"
		}
		b.hold(Hold{Lock: i, Task: b.task(o.Task), Mode: Read, Method: ByRecord, Sure: sure,
			Evidence: []Evidence{{Value: kernel.Addr(mask), Text: text}}})
	}
}

// rcuReaders names the tasks that were preempted inside of rcu_read_lock, from the
// first that the grace period waits for to the end of the list.
func (b *builder) rcuReaders(i int, first uint64) int {
	off, ok := at(typeOf(b.k, "struct task_struct"), "rcu_node_entry")
	if !ok {
		return 0
	}
	n := 0
	add := func(node uint64) bool {
		tk := b.liveTask(node - off)
		if tk != nil {
			n++
			b.hold(Hold{Lock: i, Task: b.task(tk), Mode: Read, Method: ByRecord, Sure: Certain,
				Evidence: []Evidence{{Value: kernel.Addr(node), Text: "it was preempted inside of rcu_read_lock (rcu_node." + map[bool]string{false: "gp_tasks", true: "exp_tasks"}[b.snap.Locks[i].Bit == 1] + ")"}}})
		}
		return tk != nil
	}
	if !add(first) {
		return n
	}
	for node, err := range list.Circular(b.k, first, maxWaiters) {
		if err != nil {
			b.fail(fmt.Errorf("readers that RCU waits for: %w", err))
			return n
		}
		if !add(node) {
			break // the list's head
		}
	}
	return n
}

// srcuWait finds the srcu_struct that a synchronize_srcu is about: its per-CPU data
// leads back to it.
func (b *builder) srcuWait(s *stack, f *found, i int) {
	back, ok1 := at(typeOf(b.k, "struct srcu_data"), "ssp", "sp")
	sda, ok2 := at(typeOf(b.k, "struct srcu_struct"), "sda", "per_cpu_ref")
	f.kind, f.frame, f.ring, f.pos = SRCU, i, nil, -1
	f.addr = 0
	if !ok1 || !ok2 {
		if v, ok := b.argumentOf(s.tk, i); ok {
			f.addr, f.sure, f.method = v, Likely, ByArgument
		}
		return
	}
	for _, v := range b.candidates(s, i) {
		data, ok := b.uint64At(v + sda)
		if !ok || data == 0 {
			continue
		}
		own, err := b.k.PerCPU(data, 0)
		if err != nil {
			continue
		}
		if p, ok := b.uint64At(own + back); ok && p == v {
			f.addr, f.method = v, ByArgument
			f.text = "its per-CPU data leads back to it"
			return
		}
	}
}
