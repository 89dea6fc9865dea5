package task

import (
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
	"github.com/kmortem/mortem/kernel/xarray"
)

// pidLayout is struct pid (include/linux/pid.h). Its tasks hang from tasks[0] as
// threads, from the others as processes, groups and sessions. numbers is a
// flexible array since 6.1.y, and of one element before.
type pidLayout struct {
	kernel.Layout `kernel:"struct pid"`
	Level         kernel.U32    `kernel:"level"`
	First         kernel.U64    `kernel:"tasks[0].first"`
	Numbers       kernel.Offset `kernel:"numbers"`
}

// upidLayout is struct upid. It is an element of the chains of pid_hash until
// 4.14.
type upidLayout struct {
	kernel.Layout `kernel:"struct upid"`
	Number        kernel.I32 `kernel:"nr"`
	Namespace     kernel.U64 `kernel:"ns"`
	Chain         kernel.U64 `kernel:"pid_chain.next,optional"`
}

// linkLayout is how a task hangs from its struct pid: by pid_links since 4.19, by
// pids before.
type linkLayout struct {
	kernel.Layout `kernel:"struct task_struct"`
	Node          kernel.U64 `kernel:"pid_links[0].next|pids[0].node.next"`
	PID           kernel.U64 `kernel:"thread_pid|pids[0].pid"`
}

// radixLayout is struct radix_tree_node, as pid namespaces have it from 4.15 to
// 4.19.
type radixLayout struct {
	kernel.Layout `kernel:"struct radix_tree_node"`
	Shift         kernel.Uint  `kernel:"shift"`
	Slots         kernel.Bytes `kernel:"slots"`
}

// pidReader knows the layouts of the pid structures.
type pidReader struct {
	r    *Reader
	pid  pidLayout
	upid upidLayout
	link linkLayout
}

func newPIDReader(r *Reader) (*pidReader, error) {
	p := &pidReader{r: r}
	for _, l := range []any{&p.pid, &p.upid, &p.link} {
		if err := r.k.Resolve(l); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// ByPID yields all threads that have a number, in no certain order, by the
// kernel's pid structures: the idr of the first pid namespace since 4.15, and
// pid_hash before. That is another way to the threads than All's; where both are
// sound, they lead to the same ones.
func (r *Reader) ByPID() iter.Seq2[*Task, error] {
	return func(yield func(*Task, error) bool) {
		p, err := r.pids()
		if err != nil {
			yield(nil, err)
			return
		}
		buf := make([]byte, r.task.Span())
		for pid, err := range p.all() {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if !p.threads(pid, buf, yield) {
				return
			}
		}
	}
}

// threads yields the thread of a struct pid: none where only a group or session
// still has the number.
func (p *pidReader) threads(pid uint64, buf []byte, yield func(*Task, error) bool) bool {
	const most = 4 // there is one, or two while execve lets one take another's place
	for node, err := range list.Hlist(p.r.k, pid+p.pid.First.Offset(), most) {
		if err != nil {
			return yield(nil, fmt.Errorf("struct pid at %#x: %w", pid, err))
		}
		if !yield(p.r.read(node-p.link.Node.Offset(), buf)) {
			return false
		}
	}
	return true
}

// all yields the addresses of the struct pids of all numbers in the first
// namespace.
func (p *pidReader) all() iter.Seq2[uint64, error] {
	k := p.r.k
	switch {
	case k.HasField("struct pid_namespace", "idr.idr_rt.xa_head"):
		return p.byXarray()
	case k.HasField("struct pid_namespace", "idr"):
		return p.byRadixTree()
	}
	return p.byHash()
}

func (p *pidReader) byXarray() iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		arrays, err := xarray.New(p.r.k)
		if err != nil {
			yield(0, err)
			return
		}
		root := p.r.k.Object("init_pid_ns").Field("idr.idr_rt")
		if root.Err() != nil {
			yield(0, root.Err())
			return
		}
		for e, err := range arrays.Walk(root.Addr()) {
			if !yield(e.Value, err) {
				return
			}
		}
	}
}

func (p *pidReader) byRadixTree() iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		var l radixLayout
		if err := p.r.k.Resolve(&l); err != nil {
			yield(0, err)
			return
		}
		root, err := p.r.k.Object("init_pid_ns").Field("idr.idr_rt.rnode").Uint()
		if err != nil {
			yield(0, err)
			return
		}
		entries := 0
		p.radixNode(&l, root, 64, func(pid uint64, err error) bool {
			if entries++; entries > maxTasks {
				yield(0, fmt.Errorf("radix tree of the pid namespace: it has more entries than there can be"))
				return false
			}
			return yield(pid, err)
		})
	}
}

// radixNode walks what an entry of a radix tree stands for. The lowest bit marks
// a node (RADIX_TREE_INTERNAL_NODE). A node must translate fewer bits than the one
// above it, so that a damaged tree cannot be endless.
func (p *pidReader) radixNode(l *radixLayout, entry, above uint64, yield func(uint64, error) bool) bool {
	if entry == 0 {
		return true
	}
	if entry&3 != 1 {
		return yield(entry, nil)
	}
	at := entry &^ 3
	b, err := p.r.k.Peek(at, make([]byte, l.Span()))
	if err != nil {
		return yield(0, fmt.Errorf("struct radix_tree_node at %#x: %w", at, err))
	}
	shift := l.Shift.Get(b)
	if shift >= above {
		return yield(0, fmt.Errorf("struct radix_tree_node at %#x: its shift %d is not below %d", at, shift, above))
	}
	for _, child := range words(l.Slots.Get(b)) {
		if !p.radixNode(l, child, shift, yield) {
			return false
		}
	}
	return true
}

// byHash walks pid_hash, which has the numbers of all namespaces; each struct pid
// is met by its number in the first one.
func (p *pidReader) byHash() iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		table, shift, first, err := p.hashTable()
		if err != nil {
			yield(0, err)
			return
		}
		for i := range uint64(1) << shift {
			for node, err := range list.Hlist(p.r.k, table+8*i, maxTasks) {
				var ns uint64
				upid := node - p.upid.Chain.Offset()
				if err == nil {
					ns, err = p.r.k.Uint64(upid + p.upid.Namespace.Offset())
				}
				if err != nil {
					if !yield(0, fmt.Errorf("pid_hash[%d]: %w", i, err)) {
						return
					}
					break
				}
				if ns == first && !yield(upid-p.pid.Numbers.Offset(), nil) {
					return
				}
			}
		}
	}
}

// hashTable is where pid_hash is, the logarithm of its size, and the address of
// the first pid namespace.
func (p *pidReader) hashTable() (table, shift, first uint64, err error) {
	if !p.upid.Chain.Has() {
		return 0, 0, 0, fmt.Errorf("struct upid has no pid_chain: %w", kernel.ErrNotFound)
	}
	if table, err = p.r.k.Object("pid_hash").Uint(); err != nil {
		return 0, 0, 0, err
	}
	if shift, err = p.r.k.Object("pidhash_shift").Uint(); err != nil {
		return 0, 0, 0, err
	}
	const most = 24 // the kernel makes it no larger than 1<<12
	if shift > most {
		return 0, 0, 0, fmt.Errorf("pidhash_shift is %d, which cannot be", shift)
	}
	first, err = p.r.k.Symbol("init_pid_ns")
	return table, shift, first, err
}

// Number is a task's number in one pid namespace: struct upid
// (include/linux/pid.h).
type Number struct {
	Namespace uint64 // virtual address of the struct pid_namespace
	PID       int32
}

// maxPIDLevel is how deep pid namespaces can be nested (MAX_PID_NS_LEVEL).
const maxPIDLevel = 32

// Numbers are the thread's numbers in the pid namespaces that see it, the first
// namespace's first and its own last. They are empty for a task that was reaped,
// and for idle tasks. The error wraps a *kernel.ReadError where a struct pid
// (include/linux/pid.h) cannot be read.
func (r *Reader) Numbers(t *Task) ([]Number, error) {
	p, err := r.pids()
	if err != nil {
		return nil, err
	}
	return p.numbers(t)
}

func (p *pidReader) numbers(t *Task) ([]Number, error) {
	k := p.r.k
	pid, err := k.Uint64(t.Addr + p.link.PID.Offset())
	if err != nil || pid == 0 {
		return nil, err
	}
	level, err := k.Uint32(pid + p.pid.Level.Offset())
	if err != nil {
		return nil, fmt.Errorf("struct pid at %#x: %w", pid, err)
	}
	if level > maxPIDLevel {
		return nil, fmt.Errorf("struct pid at %#x: its level %d cannot be", pid, level)
	}
	var list []Number
	buf := make([]byte, p.upid.Size())
	for i := range uint64(level) + 1 {
		b, err := k.Peek(pid+p.pid.Numbers.Offset()+i*uint64(p.upid.Size()), buf)
		if err != nil {
			return list, fmt.Errorf("struct pid at %#x: %w", pid, err)
		}
		list = append(list, Number{Namespace: p.upid.Namespace.Get(b), PID: p.upid.Number.Get(b)})
	}
	return list, nil
}
