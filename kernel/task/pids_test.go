package task_test

import (
	"testing"

	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

// pidPlan gives each task of a scene a struct pid, in the first namespace and in one
// below it.
type pidPlan struct {
	*synthetic.Scene
	first, inner uint64            // pid namespaces
	pids         map[uint64]uint64 // struct pid by task_struct
	upidSize     uint64
}

func newPIDPlan(s *synthetic.Scene) *pidPlan {
	p := &pidPlan{Scene: s, first: s.Var("init_pid_ns", "struct pid_namespace").Addr, inner: s.Alloc("pid_namespace").Addr,
		pids: map[uint64]uint64{}, upidSize: uint64(s.Alloc("upid").Type.Size)}
	link := "pid_links"
	if !s.Tasks()[0].Has(link) {
		link = "pids"
	}
	shape := s.Alloc("pid")
	for _, t := range s.Tasks() {
		pid := s.Virt(s.AllocPages(0)) // numbers lies beyond the end of some types
		at := func(path string) uint64 { return pid + shape.At(path) - shape.Addr }
		s.PutUint32(at("level"), 1)
		node := t.At(link)
		s.PutUint64(at("tasks"), node)
		s.PutUint64(node+8, at("tasks"))
		for i, ns := range []uint64{p.first, p.inner} {
			s.PutUint32(at("numbers")+uint64(i)*p.upidSize, uint32(t.PID+1000*i))
			s.PutUint64(at("numbers")+uint64(i)*p.upidSize+8, ns)
		}
		if t.Has("thread_pid") {
			t.Set("thread_pid", pid)
		} else {
			const linkPID = 16 // behind the node of struct pid_link
			s.PutUint64(node+linkPID, pid)
		}
		p.pids[t.Addr] = pid
	}
	return p
}

// hash makes a pid_hash with few chains, so that they are long.
func (p *pidPlan) hash() {
	const shift = 2
	table := p.Virt(p.AllocPages(0))
	p.PutUint64(p.Var("pid_hash", "struct hlist_head *").Addr, table)
	p.PutUint32(p.Var("pidhash_shift", "int").Addr, shift)
	slot := map[int]uint64{}
	for i := range 1 << shift {
		slot[i] = table + 8*uint64(i)
	}
	numbers := p.Alloc("pid")
	for _, t := range p.Tasks() {
		for level := range uint64(2) {
			const chain = 16 // of struct upid
			node := p.pids[t.Addr] + numbers.At("numbers") - numbers.Addr + level*p.upidSize + chain
			i := (t.PID + int(level)) % len(slot)
			p.PutUint64(slot[i], node)
			p.PutUint64(node+8, slot[i])
			slot[i] = node
		}
	}
}

// xarray makes an idr of two levels.
func (p *pidPlan) xarray() {
	const bits, node = 6, 2 // what a node translates; the mark of a pointer to one
	root := p.Alloc("xa_node").Set("shift", bits)
	leaves := map[int]synthetic.Object{}
	for _, t := range p.Tasks() {
		high, low := t.PID>>bits, t.PID&(1<<bits-1)
		if _, ok := leaves[high]; !ok {
			leaves[high] = p.Alloc("xa_node")
			p.PutUint64(root.At("slots")+8*uint64(high), leaves[high].Addr|node)
		}
		p.PutUint64(leaves[high].At("slots")+8*uint64(low), p.pids[t.Addr])
	}
	ns, idr := p.Alloc("pid_namespace"), p.Alloc("idr")
	array := p.Alloc("xarray")
	head := p.first + (ns.At("idr") - ns.Addr) + (idr.At("idr_rt") - idr.Addr) + (array.At("xa_head") - array.Addr)
	p.PutUint64(head, root.Addr|node)
}

// TestByPID walks the pid structures of kernels before and since 4.15.
func TestByPID(t *testing.T) {
	for _, c := range []struct {
		layout *synthetic.Layout
		plant  func(*pidPlan)
	}{
		{synthetic.EL6(), (*pidPlan).hash}, {synthetic.EL7(), (*pidPlan).hash},
		{synthetic.V5_4(), (*pidPlan).xarray}, {synthetic.V5_10(), (*pidPlan).xarray}, {synthetic.EL9(), (*pidPlan).xarray},
		{synthetic.V6_1(), (*pidPlan).xarray}, {synthetic.V6_6(), (*pidPlan).xarray}, {synthetic.V6_12(), (*pidPlan).xarray},
		{synthetic.V6_18(), (*pidPlan).xarray}, {synthetic.V7(), (*pidPlan).xarray},
	} {
		t.Run(c.layout.Name, func(t *testing.T) {
			plan := newPIDPlan(synthetic.NewScene(c.layout, synthetic.Machine{}, 1))
			c.plant(plan)
			checkByPID(t, plan)
		})
	}
}

func checkByPID(t *testing.T, plan *pidPlan) {
	t.Helper()
	k := kerneltest.Synthetic(t, plan, dumpwriter.Raw)
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint64]bool{}
	for tk, err := range tasks.ByPID() {
		if err != nil {
			t.Fatal(err)
		}
		if plan.pids[tk.Addr] == 0 || found[tk.Addr] {
			t.Errorf("%d %s: planned %#x, twice %v", tk.PID, tk.Comm, plan.pids[tk.Addr], found[tk.Addr])
		}
		found[tk.Addr] = true
		numbers, err := tasks.Numbers(tk)
		if err != nil || len(numbers) != 2 || numbers[0] != (task.Number{Namespace: plan.first, PID: tk.PID}) ||
			numbers[1] != (task.Number{Namespace: plan.inner, PID: tk.PID + 1000}) {
			t.Errorf("%d %s: %+v, %v", tk.PID, tk.Comm, numbers, err)
		}
	}
	if len(found) != len(plan.pids) {
		t.Errorf("%d of %d tasks", len(found), len(plan.pids))
	}
}
