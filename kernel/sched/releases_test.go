package sched_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/sched"
	"github.com/kmortem/mortem/kernel/task"
)

// plan is a machine with tasks of all classes on two run queues, and a group that
// is throttled on the second processor.
type plan struct {
	*synthetic.Kernel
	fair     []*synthetic.Task // of the first processor, the least virtual run time first
	realTime []*synthetic.Task // the most urgent first
	deadline []*synthetic.Task // the earliest first; none where the kernel has no such class
	held     *synthetic.Task   // in the group
	group    synthetic.Object
	queue    synthetic.Object // of the group on the second processor
}

func newPlan(l *synthetic.Layout) *plan {
	p := &plan{Kernel: synthetic.New(l, synthetic.Machine{CPUs: 2})}
	pid := 100
	make := func(comm string) *synthetic.Task {
		pid++
		return p.Task(comm, pid, p.InitNet())
	}
	for i, vruntime := range []uint64{500, 100, 300, 200, 400} {
		t := make("fair")
		t.QueueFair(0, vruntime)
		p.fair = slices.Insert(p.fair, []int{0, 0, 1, 1, 3}[i], t)
	}
	for i, priority := range []int{1, 99, 50, 50} {
		t := make("rt")
		t.QueueRT(1, priority)
		p.realTime = slices.Insert(p.realTime, []int{0, 0, 1, 2}[i], t)
	}
	if p.RunQueue(0).Has("dl") && p.fair[0].Has("dl") {
		for i, deadline := range []uint64{9e9, 7e9, 8e9} {
			t := make("dl")
			t.QueueDeadline(1, deadline)
			p.deadline = slices.Insert(p.deadline, []int{0, 0, 1}[i], t)
		}
	}
	if p.Layout.Has("cfs_rq", "throttled") {
		p.throttle(make("held"))
	}
	return p
}

// bandwidth adds to layouts of kernels that were built without CONFIG_CFS_BANDWIDTH
// what RHEL 6 and 7 have of it (kernel/sched/sched.h of 3.10; the other name of the
// clock is that of RHEL 6).
func bandwidth(load func() *synthetic.Layout, clock string) *synthetic.Layout {
	l := load()
	q, g := l.Size("cfs_rq"), l.Size("task_group")
	return load().Extend(fmt.Sprintf(`struct cfs_bandwidth 72
8 8 period union ktime
8 8 period.tv64 s64
16 8 quota u64
24 8 runtime u64
32 8 hierarchal_quota s64
40 8 runtime_expires u64
48 4 idle int
52 4 timer_active int
56 4 nr_periods int
60 4 nr_throttled int
64 8 throttled_time u64
edit task_group
size %d
- cfs_bandwidth
%d 72 cfs_bandwidth struct cfs_bandwidth
edit cfs_rq
size %d
%d 4 runtime_enabled int
%d 8 runtime_expires u64
%d 8 runtime_remaining s64
%d 8 %s u64
%d 4 throttled int
%d 4 throttle_count int`, g+72, g, q+40, q, q+8, q+16, q+24, clock, q+32, q+36))
}

// throttle makes a group with a quota of 20 ms in each 100 ms, used up.
func (p *plan) throttle(t *synthetic.Task) {
	p.held = t
	head := p.Var("task_groups", "struct list_head").Addr
	p.group = p.Alloc("task_group")
	p.PutUint64(head, p.group.At("list"))
	p.PutUint64(head+8, p.group.At("list"))
	p.PutUint64(p.group.At("list"), head)
	p.PutUint64(p.group.At("list")+8, head)
	b := p.group.Sub("cfs_bandwidth")
	b.Set("quota", 20e6).Set("runtime", 0).Set("nr_periods", 70).Set("nr_throttled", 60).Set("throttled_time", 5e9)
	b.SetAny(100e6, "period.tv64", "period")
	for _, q := range p.queues() {
		q.Set("tg", p.group.Addr).Set("runtime_enabled", 1)
		if q.Has("throttled_limbo_list") {
			p.PutUint64(q.At("throttled_limbo_list"), q.At("throttled_limbo_list"))
			p.PutUint64(q.At("throttled_limbo_list")+8, q.At("throttled_limbo_list"))
		}
		p.queue = q
	}
	q := p.queue.Set("throttled", 1).Set("throttle_count", 1).Set("runtime_remaining", ^uint64(0)-4999999)
	q.SetAny(77e9, "throttled_clock", "throttled_timestamp")
	if q.Has("throttled_limbo_list") && t.Has("throttle_node") {
		limbo, node := q.At("throttled_limbo_list"), t.At("throttle_node")
		for at, v := range map[uint64]uint64{limbo: node, limbo + 8: node, node: limbo, node + 8: limbo} {
			p.PutUint64(at, v)
		}
		return
	}
	p.PutUint64(q.At("tasks_timeline"), t.At("se.run_node")) // a tree of one
	p.PutUint64(t.At("se.run_node"), 1)
	t.Set("se.on_rq", 1)
}

// queues makes the group's queues: per-CPU in the 7 releases, and before with an
// array of pointers to them.
func (p *plan) queues() []synthetic.Object {
	var list []synthetic.Object
	if p.Layout.Name == "7.2" {
		copies := p.PerCPU("group_queues", "struct cfs_rq")
		for _, q := range copies {
			list = append(list, q.Object)
		}
		symbol, _ := p.Symbol("group_queues")
		p.group.Set("cfs_rq", symbol)
		return list
	}
	array := p.Kmalloc(16)
	p.group.Set("cfs_rq", array)
	for cpu := range uint64(2) {
		list = append(list, p.Alloc("cfs_rq"))
		p.PutUint64(array+8*cpu, list[cpu].Addr)
	}
	return list
}

// TestReleases reads run queues of all classes, and a throttled group, on the
// layouts of all releases.
func TestReleases(t *testing.T) {
	withDeadline := 0
	layouts := append(synthetic.Releases(), bandwidth(synthetic.EL6, "throttled_timestamp"), bandwidth(synthetic.EL7, "throttled_clock"))
	for _, l := range layouts {
		t.Run(l.Name, func(t *testing.T) {
			p := newPlan(l)
			r := openPlan(t, p)
			queues, errs := r.Queues()
			if len(errs) > 0 || len(queues) != 2 {
				t.Fatalf("%d queues, %v", len(queues), errs)
			}
			for _, c := range []struct {
				class string
				got   []sched.Entry
				want  []*synthetic.Task
			}{
				{"fair", queues[0].Fair, p.fair}, {"fair of the second", queues[1].Fair, nil},
				{"real-time", queues[1].RealTime, p.realTime}, {"real-time of the first", queues[0].RealTime, nil},
				{"deadline", queues[1].Deadline, p.deadline}, {"deadline of the first", queues[0].Deadline, nil},
			} {
				var got, want []uint64
				for _, e := range c.got {
					got = append(got, e.Task)
				}
				for _, tk := range c.want {
					want = append(want, tk.Addr)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: %#x, planned %#x", c.class, got, want)
				}
			}
			if e := queues[1].RealTime; len(e) == 4 && (e[0].Prio != 0 || e[3].Prio != 98) {
				t.Errorf("priorities %+v", e)
			}
			if len(p.deadline) > 0 {
				withDeadline++
				if e := queues[1].Deadline; len(e) != 3 || e[0].Deadline != 7e9 {
					t.Errorf("deadlines %+v", e)
				}
			}
			if n := queues[0].Running; n != 5 {
				t.Errorf("%d want the first processor", n)
			}
			checkGroup(t, p, r)
		})
	}
	if withDeadline < 6 {
		t.Errorf("%d layouts have the deadline class", withDeadline)
	}
}

func checkGroup(t *testing.T, p *plan, r *sched.Reader) {
	t.Helper()
	if can := p.held != nil; r.HasBandwidth() != can {
		t.Fatalf("the kernel can throttle groups: %v, planned %v", !can, can)
	}
	n := 0
	for g, err := range r.Groups() {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if g.Addr != p.group.Addr || !g.Limited || g.Quota != 20e6 || g.Period != 100e6 || g.Periods != 70 || g.Throttles != 60 || g.Time != 5e9 {
			t.Errorf("%+v", g)
		}
		if len(g.Queues) != 1 {
			t.Fatalf("%d queues of the group: %+v", len(g.Queues), g.Queues)
		}
		q := &g.Queues[0]
		if q.CPU != 1 || q.Addr != p.queue.Addr || !q.Throttled || q.Depth != 1 || q.Remaining != -5e6 || q.Since != 77e9 ||
			len(q.Tasks) != 1 || q.Tasks[0].Task != p.held.Addr {
			t.Errorf("%+v", q)
		}
	}
	if want := map[bool]int{true: 1}[p.held != nil]; n != want {
		t.Errorf("%d groups, planned %d", n, want)
	}
}

func openPlan(t *testing.T, p *plan) *sched.Reader {
	t.Helper()
	k := kerneltest.Synthetic(t, p)
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	r, err := sched.New(tasks)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
