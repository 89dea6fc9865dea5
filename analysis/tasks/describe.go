package tasks

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/paging"
	"github.com/kmortem/mortem/kernel/task"
)

// task describes a task as far as the options ask for. What of it cannot be read
// makes it count as unread.
func (c *collector) task(tk *task.Task) Task {
	t := Task{Addr: kernel.Addr(tk.Addr), PID: tk.PID, TGID: tk.TGID, Comm: tk.Comm,
		State: tk.Letter(), StateName: tk.StateName(), Crash: tk.CrashState(),
		CPU: tk.CPU, Running: c.running[tk.Addr], Idle: c.idle[tk.Addr], Kernel: tk.Kthread(),
		Flags: kernel.Addr(tk.Flags), FlagNames: tk.FlagNames()}
	var first error
	fail := func(err error) {
		if err != nil && first == nil {
			first = err
		}
	}
	if m, err := c.details.More(tk); err != nil {
		fail(err)
	} else {
		c.more(&t, tk, m, fail)
	}
	if first != nil {
		c.report.Coverage.Fail(fmt.Errorf("task %d %s: %w", tk.PID, tk.Comm, first))
	} else {
		c.report.Coverage.Read++
	}
	return t
}

func (c *collector) more(t *Task, tk *task.Task, m *task.More, fail func(error)) {
	t.Frozen = m.Frozen
	if t.State == "Z" || t.State == "X" {
		t.ExitCode = &Exit{Status: m.ExitCode >> 8, Signal: m.ExitCode & 0x7f, Core: m.ExitCode&0x80 != 0}
	}
	t.PPID = c.parent(m.Parent, fail)
	mem := c.mm(m.MM, fail)
	if mem != nil {
		page := c.k.PageSize()
		t.VSZ, t.RSS = mem.Total*page, mem.RSS*page
		if total := c.report.MemoryTotal; total != 0 {
			t.Percent = float64(t.RSS) * 100 / float64(total)
		}
	}
	t.Sched = c.schedule(tk, m)
	if c.opt.Long {
		c.long(t, tk, m, mem, fail)
	}
	if c.opt.Mounts {
		t.Mounts = c.mounts(tk, m, fail)
	}
	if c.opt.Files {
		t.Files = c.files(m, fail)
	}
	if mem != nil && !t.Kernel && (c.opt.Long || c.opt.Env) {
		t.Program = c.program(mem)
	}
}

func (c *collector) mounts(tk *task.Task, m *task.More, fail func(error)) []Mount {
	found, err := c.details.Mounts(tk, m)
	fail(err)
	var list []Mount
	for i := range found {
		f := &found[i]
		list = append(list, Mount{Addr: kernel.Addr(f.Addr), ID: f.ID, Parent: f.ParentID, Major: f.SB.Major(), Minor: f.SB.Minor(),
			Inside: f.Inside, Path: f.Path, Type: f.SB.Type, Source: f.Device, Options: f.Options(), Super: f.SB.Options(), SB: kernel.Addr(f.Super)})
	}
	return list
}

func (c *collector) parent(addr uint64, fail func(error)) int32 {
	if addr == 0 {
		return 0
	}
	tk := c.byAddr[addr]
	if tk == nil {
		var err error
		if tk, err = c.reader.At(addr); err != nil {
			fail(err)
			return 0
		}
	}
	return tk.TGID
}

// mm reads an address space, once for all its threads.
func (c *collector) mm(addr uint64, fail func(error)) *task.Memory {
	if addr == 0 {
		return nil
	}
	mem, ok := c.memory[addr]
	if !ok {
		var err error
		mem, err = c.details.Memory(addr)
		fail(err)
		c.memory[addr] = mem
	}
	return mem
}

func (c *collector) schedule(tk *task.Task, m *task.More) *Sched {
	s := &Sched{Policy: m.PolicyName(), Prio: m.Prio, Nice: m.Nice, RTPrio: m.RTPriority,
		Runtime: m.Runtime, User: m.User, System: m.System, Start: m.Boot,
		SwitchedAgo: c.clocks.ago(m.Arrival), WaitsFor: c.clocks.ago(m.Queued), Delay: m.Delay, Runs: m.Runs,
		Voluntary: m.Voluntary, Involuntary: m.Involuntary, MinorFaults: m.MinorFaults, MajorFaults: m.MajorFaults}
	if m.ExecStart != 0 {
		s.RanAgo = c.clocks.ago(m.ExecStart + c.clocks.task[tk.CPU])
	}
	if d := m.Deadline; d != nil {
		s.Deadline = &Deadline{d.Runtime, d.Deadline, d.Period, d.Throttled}
	}
	return s
}

func (c *collector) long(t *Task, tk *task.Task, m *task.More, mem *task.Memory, fail func(error)) {
	page := c.k.PageSize()
	if mem != nil {
		t.Memory = &Memory{kernel.Addr(mem.Addr), mem.File * page, mem.Anon * page, mem.Shmem * page, mem.Swap * page}
	}
	t.Identity = c.identity(tk, m, fail)
	shared, err := c.details.SharedPending(tk)
	fail(err)
	t.Signals = &Signals{Pending: signalNames(m.Pending), Shared: signalNames(shared), Blocked: fmt.Sprintf("%016x", m.Blocked)}
	p := &Place{}
	if p.Root, p.Cwd, err = c.details.Directories(m); err != nil {
		fail(err)
	}
	if mem != nil && mem.Exe != 0 {
		exe, err := c.details.File(mem.Exe)
		fail(err)
		if exe != nil {
			p.Exe = exe.Path
		}
	}
	t.Place = p
}

func (c *collector) identity(tk *task.Task, m *task.More, fail func(error)) *Who {
	w := &Who{Groups: []uint32{}, Numbers: []int32{}, Namespaces: map[string]uint32{}, Cgroups: []Cgroup{}}
	cred, err := c.details.Credentials(m)
	fail(err)
	if cred != nil {
		w.UID, w.EUID, w.SUID, w.FSUID = cred.UID, cred.EUID, cred.SUID, cred.FSUID
		w.GID, w.EGID, w.SGID, w.FSGID = cred.GID, cred.EGID, cred.SGID, cred.FSGID
		w.Groups = append(w.Groups, cred.Groups...)
		w.CapEff, w.CapPerm = fmt.Sprintf("%016x", cred.Effective), fmt.Sprintf("%016x", cred.Permitted)
	}
	numbers, err := c.reader.Numbers(tk)
	fail(err)
	for _, n := range numbers {
		w.Numbers = append(w.Numbers, n.PID)
	}
	spaces, err := c.details.Namespaces(tk, cred)
	fail(err)
	for _, n := range spaces {
		w.Namespaces[n.Kind] = n.Inum
	}
	groups, err := c.details.Cgroups(m)
	fail(err)
	for _, g := range groups {
		w.Cgroups = append(w.Cgroups, Cgroup{g.Hierarchy, g.Controllers, g.Path})
	}
	return w
}

func (c *collector) files(m *task.More, fail func(error)) []File {
	files, err := c.details.Files(m)
	fail(err)
	list := []File{}
	for i := range files {
		f := &files[i]
		one := File{FD: f.FD, Addr: kernel.Addr(f.Addr), Dentry: kernel.Addr(f.Dentry), Path: f.Path, Flags: f.FlagNames(), Pos: f.Pos}
		fail(c.inode(&one))
		list = append(list, one)
	}
	return list
}

// inode adds the inode of an open file, and of what type that is.
func (c *collector) inode(f *File) error {
	dentry, err := c.fs.Dentry(uint64(f.Dentry))
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", f.FD, err)
	}
	if f.Inode = kernel.Addr(dentry.Inode); dentry.Inode == 0 {
		return nil
	}
	inode, err := c.fs.Inode(dentry.Inode)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", f.FD, err)
	}
	if f.Type = inode.Type(); inode.Mode&0o170000 == 0 { // as of inodes of eventfd, timerfd, …
		f.Type = "none"
	}
	return nil
}

// program reads a command line and, where asked for, an environment.
func (c *collector) program(mem *task.Memory) *Program {
	p := &Program{}
	var err error
	var list []string
	if c.opt.Long {
		list, err = c.details.CommandLine(mem)
		p.Args, p.ArgsWhy = shown(list), c.unread(err)
	}
	if c.opt.Env {
		list, err = c.details.Environment(mem)
		p.Env, p.EnvWhy = shown(list), c.unread(err)
	}
	return p
}

// unread says why memory of a program is not there.
func (c *collector) unread(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, dump.ErrExcluded):
		c.report.UnreadUser++
		return "not in the dump: memory of programs was left out"
	case errors.Is(err, paging.ErrNotMapped):
		c.report.UnreadUser++
		return "not in memory: swapped out, or never touched"
	}
	c.report.UnreadUser++
	return err.Error()
}

func shown(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, cstr.Show([]byte(s)))
	}
	return out
}
