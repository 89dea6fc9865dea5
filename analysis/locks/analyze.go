package locks

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Analyze finds out who blocks whom. It makes the kernel name addresses in modules
// (module.Attach), and so must be called before the kernel is used by several
// goroutines. An error wraps kernel.ErrNotFound where the options name a task or lock
// that nobody waits for.
func Analyze(ctx context.Context, fs *vfs.FS, opt Options) (*Report, error) {
	k := fs.Kernel()
	unwinder, err := stacks.Open(k)
	if err != nil {
		return nil, err
	}
	s, err := Snapshot(ctx, fs, unwinder, lock.Options{Interruptible: opt.Interruptible, NoSuspects: opt.NoSuspects})
	if err != nil {
		return nil, err
	}
	b := newBuilder(s)
	b.r.Caution = caution(k.Image().Facts().Format)
	b.deadlocks()
	b.roots()
	chosen, err := b.choose(namesIn(k), opt)
	if err != nil {
		return nil, err
	}
	if err := b.watch(ctx, unwinder, opt.Stacks); err != nil {
		return nil, err
	}
	b.r.Findings = b.findings()
	if chosen != nil {
		chosen.cut()
	}
	return b.r, nil
}

// caution: LiME and AVML copy the memory of a machine that runs meanwhile, minutes from
// the first page to the last, so that a lock and its owner can be from different times.
func caution(f dump.Format) string {
	if f != dump.FormatLiME && f != dump.FormatAVML {
		return ""
	}
	return fmt.Sprintf("%s copies memory while the machine runs: locks and tasks may be from different times, and a deadlock may never have been", f)
}

// Snapshot reads who waits for what and who holds it. The error wraps
// kernel.ErrNotFound where the kernel lacks what it needs, or is that of ctx;
// what could not be read is in the snapshot's coverage.
func Snapshot(ctx context.Context, fs *vfs.FS, unwinder *stacks.Tasks, opt lock.Options) (*lock.Snapshot, error) {
	tasks, err := task.New(fs.Kernel())
	if err != nil {
		return nil, err
	}
	reader, err := lock.Open(fs.Kernel(), tasks, unwinder.Tracer(), fs)
	if err != nil {
		return nil, err
	}
	return reader.Snapshot(ctx, opt)
}

// watch tells what the first roots are doing.
func (b *builder) watch(ctx context.Context, unwinder *stacks.Tasks, most int) error {
	if most == 0 {
		most = defaultStacks
	}
	var addrs []uint64
	for i := range b.r.Roots {
		if r := &b.r.Roots[i]; r.Kind == RootTask && len(addrs) < most && b.r.Graph.Tasks[r.Tasks[0].Index].Gone == "" {
			addrs = append(addrs, uint64(r.Tasks[0].Addr))
		}
	}
	found := map[kernel.Addr]*stacks.Stack{}
	if len(addrs) > 0 {
		r, err := unwinder.Collect(ctx, stacks.Options{Addrs: addrs})
		if err != nil {
			return err
		}
		for i := range r.Stacks {
			found[r.Stacks[i].Addr] = &r.Stacks[i]
		}
	}
	for i := range b.r.Roots {
		if r := &b.r.Roots[i]; r.Kind == RootTask {
			r.Doing = Describe(&b.r.Graph.Tasks[r.Tasks[0].Index], found[r.Tasks[0].Addr])
		}
	}
	return nil
}

// namesIn finds tasks and symbols of a kernel.
func namesIn(k *kernel.Kernel) names {
	return names{symbol: k.Symbol, task: func(pid int32, addr uint64) (comm string, ok, whole bool) {
		tasks, err := task.New(k)
		if err != nil {
			return "", false, false
		}
		list, whole := tasks.Find(func(error) {}) // they were told before
		for _, t := range list {
			if t.PID == pid || t.Addr == addr {
				return t.Comm, true, whole
			}
		}
		return "", false, whole
	}}
}
