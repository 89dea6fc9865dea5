package lock

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/archs"
	"github.com/kmortem/mortem/kernel/arch/taken"
	"github.com/kmortem/mortem/kernel/sched"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Reader finds out who waits for what and who holds it.
type Reader struct {
	k      *kernel.Kernel
	tasks  *task.Reader
	tracer *unwind.Tracer
	fs     *vfs.FS // nil where paths cannot be told
	forms  *forms
	arch   arch.Arch
	regs   *arch.RegisterFile
	// machine follows code; nil where that of the architecture cannot be followed.
	machine taken.Machine
	arg     arch.Reg // that the first argument is passed in
	// currentTask is the offset of x86's variable that leads to the current task.
	currentTask uint64
}

// Open resolves the structures of the kernel's locks. fs may be nil: locks in
// inodes, dentries and super_blocks are without a path then. Locks in modules have
// names if the kernel knows its modules (module.Attach). The error wraps
// kernel.ErrNotFound where the kernel lacks a structure that all releases have,
// and archs.ErrUnknown for other architectures.
func Open(k *kernel.Kernel, tasks *task.Reader, tracer *unwind.Tracer, fs *vfs.FS) (*Reader, error) {
	f, err := readForms(k)
	if err != nil {
		return nil, err
	}
	a, err := archs.Of(k.Image().Facts().Arch)
	if err != nil {
		return nil, err
	}
	r := &Reader{k: k, tasks: tasks, tracer: tracer, fs: fs, forms: f, arch: a, regs: a.Registers()}
	if r.machine, _ = a.(taken.Machine); r.machine != nil {
		r.arg = r.machine.Convention().Args[0]
	}
	// pcpu_hot from 6.2 to 6.14, of which it is the first member.
	for _, name := range []string{"current_task", "pcpu_hot"} {
		if at, err := k.Symbol(name); err == nil {
			r.currentTask = at
			break
		}
	}
	return r, nil
}

// Options change what is looked at.
type Options struct {
	// Interruptible takes in also those that sleep interruptibly on wait queues
	// and futexes, for whatever may come, which most tasks of a machine do.
	Interruptible bool
	// NoSuspects leaves out the search for holders by inference.
	NoSuspects bool
}

// Snapshot reads the tasks of the dump. What could not be read is counted in its
// coverage; the error is the context's.
func (r *Reader) Snapshot(ctx context.Context, opt Options) (*Snapshot, error) {
	b := newBuilder(ctx, r, opt)
	b.collect()
	b.readClocks()
	b.readStarts()
	if err := b.visitAll(); err != nil {
		return nil, err
	}
	for i := range b.cpus {
		b.spinner(&b.cpus[i])
	}
	b.finish()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return b.snap, nil
}

// builder makes a snapshot.
type builder struct {
	*Reader
	ctx    context.Context
	opt    Options
	snap   *Snapshot
	order  []*task.Task          // all threads, as the task list has them
	live   map[uint64]*task.Task // by address, idle tasks included
	whole  bool                  // no thread is missing in order
	tried  map[uint64]bool       // what was looked at whether it is a task that is missing
	seen   int                   // how many of order were visited
	index  map[uint64]int        // into snap.Tasks
	locks  map[lockKey]int       // into snap.Locks
	nodes  map[nodeKey]nodeAt
	extra  []lockExtra    // beside snap.Locks
	holdAt map[[2]int]int // into snap.Holds, by lock and task
	waited map[int]bool   // the tasks, by index, whose wait is known
	cpus   []unwind.CPU
	cpuOf  map[uint64]*unwind.CPU
	funcs  map[uint64]*function
	now    uint64         // the latest of the run queues' clocks
	behind map[int]uint64 // how far clock_task is behind the clock
	spin   *spinForm

	works       *workForm // nil until the workers were collected
	oldWork     *oldWorkForm
	queues      []uint64 // workqueues
	workerList  []worker
	filesOf     *fileForm
	rtNodes     map[uint64]int // waits, by the node in the queue of an rt_mutex
	heldForms   *heldForm
	startOffset int64 // start_time less the run queues' clock, ns
	startsKnown bool
	goneAt      map[uint64]int            // owners that are no live task
	codes       map[uint64][]byte         // by function
	effects     map[uint64][]taken.Effect // by function
	places      map[codeKey]*taken.Outstanding

	frames  []unwind.Frame // room
	compact []frame
	words   []byte
	field   []byte
	visited []byte // the task that is looked at
	word    [8]byte
}

type lockKey struct {
	kind Kind
	addr uint64
	bit  int
	id   uint64 // tells apart futexes of the same address
}

// lockExtra is what is known of a lock besides what is told.
type lockExtra struct {
	ring      *ring
	work      uint64
	wq        uint64
	wqLists   map[uint64]bool // struct cpu_workqueue_structs
	pipe      uint64
	pipeWrite bool   // for room to write
	pipeFile  uint64 // a struct file of it that someone has open
	// fileWaiter is the struct file_lock of one that waits for a file lock.
	fileWaiter uint64
	waiting    map[int]bool // the tasks that wait for it
	carriers   []carrier
	first      uint64 // the task that is the first in its queue
	waiter     uint64 // a task that waits for it
	rtBase     uint64 // the rt_mutex in a lock of PREEMPT_RT
}

func newBuilder(ctx context.Context, r *Reader, opt Options) *builder {
	return &builder{Reader: r, ctx: ctx, opt: opt, snap: &Snapshot{Coverage: r.k.NewCoverage()},
		live: map[uint64]*task.Task{}, tried: map[uint64]bool{}, index: map[uint64]int{}, locks: map[lockKey]int{}, nodes: map[nodeKey]nodeAt{},
		cpuOf: map[uint64]*unwind.CPU{}, funcs: map[uint64]*function{}, behind: map[int]uint64{}, codes: map[uint64][]byte{}, effects: map[uint64][]taken.Effect{}, places: map[codeKey]*taken.Outstanding{}, goneAt: map[uint64]int{}, holdAt: map[[2]int]int{}, waited: map[int]bool{},
		field: make([]byte, r.forms.task.Span()), visited: make([]byte, r.forms.task.Span())}
}

func (b *builder) fail(err error) { b.snap.Coverage.Fail(err) }

// collect finds the tasks and the processors.
func (b *builder) collect() {
	var err error
	if b.cpus, err = b.tracer.CPUs(b.tasks); err != nil {
		b.fail(err)
	}
	if err := b.tracer.ModulesError(); err != nil {
		b.fail(fmt.Errorf("modules: %w", err))
	}
	b.order, b.whole = b.tasks.Find(b.fail)
	for _, tk := range b.order {
		b.live[tk.Addr] = tk
	}
	for i := range b.cpus {
		c := &b.cpus[i]
		if c.Task == nil {
			for _, tk := range b.order {
				if b.tracer.Runs(c, tk) {
					c.Task = tk
					break
				}
			}
		}
		if c.Task != nil {
			b.cpuOf[c.Task.Addr] = c
		}
		for _, addr := range []uint64{c.Idle, taskAddr(c.Task)} {
			if addr == 0 || b.live[addr] != nil {
				continue
			}
			if tk, err := b.tasks.At(addr); err == nil {
				b.live[addr] = tk
			}
		}
	}
}

func taskAddr(tk *task.Task) uint64 {
	if tk == nil {
		return 0
	}
	return tk.Addr
}

// readClocks reads the clocks of the run queues, by which it is told for how long
// a task has slept.
func (b *builder) readClocks() {
	queues, err := sched.New(b.tasks)
	if err != nil {
		return // times stay unknown
	}
	list, _ := queues.Queues() // what could be read is enough
	for i := range list {
		b.now = max(b.now, list[i].Clock)
		b.behind[list[i].CPU] = list[i].Clock - list[i].ClockTask
	}
}

// readStarts works out by how much the clock of start_time differs from that of the
// run queues. A task starts before it runs, so that start_time less the time when it
// last ran is never more than that; of tasks that ran only when they were made it is
// as much.
func (b *builder) readStarts() {
	l := &b.forms.task
	if !l.Start.Has() || !l.ExecStart.Has() || l.Start.Len() != 8 {
		return
	}
	for _, tk := range b.order {
		fields, err := b.k.Peek(tk.Addr, b.field)
		if err != nil {
			continue
		}
		if exec := l.ExecStart.Get(fields); exec != 0 {
			d := int64(le64(l.Start.Get(fields))) - int64(exec+b.behind[tk.CPU])
			if !b.startsKnown || d > b.startOffset {
				b.startOffset, b.startsKnown = d, true
			}
		}
	}
}

// startMargin is what the two clocks may be apart beyond what was worked out, in ns.
const startMargin = 20e6

// younger tells whether a task started after another one fell asleep, in which it
// has been ever since.
func (b *builder) younger(tk *task.Task, sleeper uint64) bool {
	l := &b.forms.task
	if !b.startsKnown || sleeper == 0 {
		return false
	}
	fields, err := b.k.Peek(tk.Addr, b.field)
	if err != nil {
		return false
	}
	start := int64(le64(l.Start.Get(fields)))
	if fields, err = b.k.Peek(sleeper, b.field); err != nil {
		return false
	}
	exec := l.ExecStart.Get(fields)
	cpu := b.live[sleeper].CPU
	return exec != 0 && start > int64(exec+b.behind[cpu])+b.startOffset+startMargin
}

// since is how long ago the clock of the run queues stood at a time.
func (b *builder) since(at uint64, cpu int) (uint64, bool) {
	if at == b.behind[cpu] || at == 0 || b.now == 0 {
		return 0, false
	}
	if at > b.now {
		return 0, at < b.now+1e9
	}
	return b.now - at, true
}

// task is the index of a task in the snapshot.
func (b *builder) task(tk *task.Task) int {
	if i, ok := b.index[tk.Addr]; ok {
		return i
	}
	t := Task{Addr: kernel.Addr(tk.Addr), PID: tk.PID, TGID: tk.TGID, Comm: tk.Comm, State: tk.Letter(), CPU: tk.CPU, Kthread: tk.Kthread()}
	if c := b.cpuOf[tk.Addr]; c != nil {
		t.CPU, t.Running = c.Number, true
	}
	l := &b.forms.task
	if f, err := b.k.Peek(tk.Addr, b.field); err == nil && l.ExecStart.Has() {
		if !t.Running {
			t.Blocked, t.BlockedOK = b.since(l.ExecStart.Get(f)+b.behind[tk.CPU], tk.CPU)
		} else if l.Arrival.Has() {
			t.Blocked, t.BlockedOK = b.since(l.Arrival.Get(f), t.CPU)
		}
	}
	return b.addTask(t)
}

func (b *builder) addTask(t Task) int {
	b.snap.Tasks = append(b.snap.Tasks, t)
	i := len(b.snap.Tasks) - 1
	b.index[uint64(t.Addr)] = i
	return i
}

// lockOf is the index of a lock in the snapshot.
func (b *builder) lockOf(key lockKey) int {
	if i, ok := b.locks[key]; ok {
		return i
	}
	b.snap.Locks = append(b.snap.Locks, Lock{Kind: key.kind, Addr: kernel.Addr(key.addr), Bit: key.bit, Queue: -1})
	b.extra = append(b.extra, lockExtra{})
	b.locks[key] = len(b.snap.Locks) - 1
	return b.locks[key]
}

// hold adds a hold, or its evidence to what is known of the same task and lock.
func (b *builder) hold(h Hold) {
	key := [2]int{h.Lock, h.Task}
	if i, ok := b.holdAt[key]; ok {
		b.snap.Holds[i].Evidence = append(b.snap.Holds[i].Evidence, h.Evidence...)
		return
	}
	b.holdAt[key] = len(b.snap.Holds)
	b.snap.Holds = append(b.snap.Holds, h)
}

// uint64At reads a word, false where it cannot be read.
func (b *builder) uint64At(addr uint64) (uint64, bool) {
	v, err := b.k.Peek(addr, b.word[:])
	if err != nil {
		return 0, false
	}
	return le64(v), true
}

func (b *builder) uint32At(addr uint64) (uint32, bool) {
	v, err := b.k.Peek(addr, b.word[:4])
	if err != nil {
		return 0, false
	}
	return uint32(v[0]) | uint32(v[1])<<8 | uint32(v[2])<<16 | uint32(v[3])<<24, true
}

func le64(v []byte) uint64 {
	_ = v[7]
	return uint64(v[0]) | uint64(v[1])<<8 | uint64(v[2])<<16 | uint64(v[3])<<24 |
		uint64(v[4])<<32 | uint64(v[5])<<40 | uint64(v[6])<<48 | uint64(v[7])<<56
}

// inKernel tells whether a number can be an address in the kernel's half.
func inKernel(addr uint64) bool { return addr>>47 == 0x1ffff || addr>>56 == 0xff }

func stackError(tk *task.Task, err error) error {
	return fmt.Errorf("stack of %d %s: %w", tk.PID, tk.Comm, err)
}
