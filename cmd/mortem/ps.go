package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/analysis/tasks"
	"github.com/kmortem/mortem/kernel/task"
)

// psFlags are the flags that need more than Options.
type psFlags struct {
	pids   []int32
	states []string
}

func (a *app) psCommand() *cobra.Command {
	var opt tasks.Options
	var f psFlags
	c := &cobra.Command{
		Use:   "ps [flags] DUMP... [PID|ADDRESS|COMM]...",
		Short: "List the tasks, the run queues and the throttled groups",
		Long: "ps lists the tasks: all threads, and the idle tasks of the processors. What follows the first\n" +
			"dump and is no file is taken for a task, by number, address of its task_struct or\n" +
			"name, in which * stands for any characters and ? for one.\n\n" +
			"The columns are those of crash: > marks what a processor was running, ST is the state, VSZ\n" +
			"and RSS are in KiB, names of kernel threads stand in brackets. The states are RU running or\n" +
			"runnable, IN sleeping, UN not to be woken by signals, ID an idle kernel thread, ST stopped, TR\n" +
			"traced, PA parked, NE new, ZO exited and not waited for, DE exited. With --json everything\n" +
			"that is known of the chosen tasks is printed, but for mounts, which need --mounts. The flags of\n" +
			"one letter are crash's, but -l, which is that of ps.\n\n" +
			"The list of tasks and the pid structures are compared; a task that only one of them leads\n" +
			"to is named on its own.",
		Example: "  mortem ps --vmlinux vmlinux vmcore\n" +
			"  mortem ps --vmlinux vmlinux --state D --long vmcore\n" +
			"  mortem ps --vmlinux vmlinux --user --sort rss vmcore\n" +
			"  mortem ps --vmlinux vmlinux --files --mounts vmcore 289\n" +
			"  mortem ps --vmlinux vmlinux --parents vmcore 289\n" +
			"  mortem ps --vmlinux vmlinux --runq vmcore",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			files, names := splitDumps(args)
			opt.PIDs = f.pids
			if err := cmp.Or(lacksName(c, "comm", "state"), f.check(&opt), runqAlone(c, names)); err != nil {
				return err
			}
			namePS(&opt, names)
			if a.json {
				opt.Long, opt.Files, opt.Env, opt.Queues = true, true, true, true
			}
			return a.ps(c, files, names, opt)
		},
	}
	fl := c.Flags()
	pidsFlag(fl, &f.pids, "pid", "only the threads with these `numbers`")
	fl.StringSliceVar(&opt.Comms, "comm", nil, "only the tasks with these names, such as 'kworker/*'")
	fl.StringSliceVar(&f.states, "state", nil, "only tasks in these states: letters (D), crash's (UN) or words (zombie)")
	fl.Var(cpuList{&opt.CPUs}, "cpu", "only tasks that are or last were on these processors, such as 0,2-3")
	fl.BoolVarP(&opt.Running, "running", "A", false, "only what the processors were running")
	fl.BoolVarP(&opt.Kernel, "kernel", "k", false, "only kernel threads")
	fl.BoolVarP(&opt.User, "user", "u", false, "only processes, no kernel threads")
	fl.BoolVarP(&opt.Leaders, "processes", "G", false, "only the first thread of each process")
	fl.BoolVar(&opt.Threads, "threads", false, "and all threads of the processes that the chosen tasks are of")
	fl.BoolVarP(&opt.Parents, "parents", "p", false, "and the parents of the chosen tasks, up to the first task")
	fl.BoolVarP(&opt.Children, "children", "c", false, "and the processes that are children of the chosen ones")
	fl.StringVar(&opt.Sort, "sort", "pid", "sort by "+strings.Join(tasks.Sorts(), ", ")+" (ran: who ran last)")
	fl.BoolVarP(&opt.Long, "long", "l", false, "print times, priority, ids, namespaces, groups, directories and command line")
	fl.BoolVar(&opt.Files, "files", false, "print the open files: addresses of the struct file, dentry and inode, type, path, flags, position")
	fl.BoolVar(&opt.Mounts, "mounts", false, "print the mounts that the task can reach")
	fl.BoolVar(&opt.Env, "env", false, "print the environment")
	fl.BoolVar(&opt.Queues, "runq", false, "print the run queues (those of --cpu), each task with its priority in brackets, and the groups with a quota instead")
	a.kernelFlags(fl)
	return c
}

// runqAlone refuses what chooses tasks or says what to print of them beside --runq, which
// is about processors. JSON has both.
func runqAlone(c *cobra.Command, names []string) error {
	if !c.Flags().Changed("runq") || c.Flags().Changed("json") {
		return nil
	}
	if len(names) > 0 {
		return usage("--runq prints the run queues of processors, and not of tasks: %s", strings.Join(names, " "))
	}
	for _, name := range []string{"pid", "comm", "state", "running", "kernel", "user", "processes", "threads", "parents", "children", "sort", "long", "files", "mounts", "env"} {
		if c.Flags().Changed(name) {
			return usage("--runq prints the run queues of processors; --%s is for tasks", name)
		}
	}
	return nil
}

// pidsFlag adds a flag of numbers of tasks.
func pidsFlag(fl *pflag.FlagSet, pids *[]int32, name, text string) {
	fl.Int32SliceVar(pids, name, nil, text)
	fl.Lookup(name).DefValue = "" // none, and not "[]", which the help would name
}

// stateLetters turns what --state takes into letters: names of states, or letters
// one behind the other.
func stateLetters(names []string) (letters []string, err error) {
	for _, name := range names {
		if letter, ok := task.StateLetter(name); ok {
			letters = append(letters, letter)
			continue
		}
		for _, letter := range name {
			known, ok := task.StateLetter(string(letter))
			if !ok {
				return nil, usage("--state: there is no state %q; there are %s", name, strings.Join(task.States(), ", "))
			}
			letters = append(letters, known)
		}
	}
	return letters, nil
}

// notThere is the error for what was asked for and is not in the dump. A name may
// also have been meant as a file's.
func notThere(unknown, names []string) error {
	text := strings.Join(unknown, "; ")
	if len(names) > 0 {
		text += " (" + strings.Join(names, " ") + ": no file, and so taken for tasks)"
	}
	return usage("%s", text)
}

// check checks what the flags' own types do not.
func (f *psFlags) check(opt *tasks.Options) error {
	var err error
	if opt.States, err = stateLetters(f.states); err != nil {
		return err
	}
	if opt.Kernel && opt.User {
		return usage("--kernel and --user exclude each other")
	}
	return checkSort(opt.Sort, tasks.Sorts())
}

// namePS adds tasks by number, address or name, as bt does.
func namePS(opt *tasks.Options, names []string) {
	var named stacks.Options
	nameTasks(&named, names)
	opt.PIDs = append(opt.PIDs, named.PIDs...)
	opt.Addrs = append(opt.Addrs, named.Addrs...)
	opt.Comms = append(opt.Comms, named.Comms...)
}

func (a *app) ps(c *cobra.Command, files, names []string, opt tasks.Options) error {
	return a.withKernel(files, func(s *session) error {
		r, err := tasks.Analyze(c.Context(), s.fs, opt)
		if err != nil {
			return unusable(err)
		}
		if r.Selected == 0 && len(r.Unknown) > 0 {
			return notThere(r.Unknown, names)
		}
		err = a.answer(r, &r.Coverage, func(w *printer) {
			if opt.Queues {
				printQueues(w, r)
				printGroups(w, r)
				return
			}
			printTasks(w, r, &opt)
		})
		if len(r.Unknown) > 0 {
			return notThere(r.Unknown, names)
		}
		return err
	})
}

func printTasks(w *printer, r *tasks.Report, opt *tasks.Options) {
	if r.Selected == 0 {
		w.line("none of %d tasks fits", r.Searched)
	} else {
		w.line("      PID    PPID  CPU       TASK        ST  %%MEM      VSZ      RSS  COMM")
	}
	for i := range r.Tasks {
		t := &r.Tasks[i]
		printTask(w, t)
		if opt.Long {
			printLong(w, t)
		}
		if opt.Files {
			printFiles(w, t)
		}
		printMounts(w, t)
		if opt.Env && t.Program != nil {
			printStrings(w, "environment", t.Program.Env, t.Program.EnvWhy)
		}
	}
	for _, d := range r.Differences {
		w.line("only in the %s: %d %s at %s", d.Only, d.PID, d.Comm, d.Addr)
	}
}

func printTask(w *printer, t *tasks.Task) {
	mark, comm, cpu := " ", t.Comm, "-"
	if t.Running {
		mark = ">"
	}
	if t.Kernel {
		comm = "[" + comm + "]"
	}
	if t.CPU >= 0 {
		cpu = strconv.Itoa(t.CPU)
	}
	w.line("%s %7d %7d  %3s  %016x  %-2s %5.1f %8d %8d  %s", mark, t.PID, t.PPID, cpu, uint64(t.Addr), t.Crash, t.Percent, t.VSZ>>10, t.RSS>>10, comm)
}

// field prints one fact of a task below its line.
func field(w *printer, name, format string, args ...any) {
	w.line("            %-12s "+format, append([]any{name}, args...)...)
}

func printLong(w *printer, t *tasks.Task) {
	state := t.StateName
	if t.Frozen {
		state += ", frozen"
	}
	if e := t.ExitCode; e != nil {
		state += fmt.Sprintf(", exit status %d", e.Status)
		if e.Signal != 0 {
			state += fmt.Sprintf(", killed by signal %d", e.Signal)
		}
	}
	field(w, "state", "%s; flags %s", state, strings.Join(append([]string{fmt.Sprintf("%08x", uint64(t.Flags))}, t.FlagNames...), " "))
	if t.Sched != nil {
		printSched(w, t.Sched)
	}
	if m := t.Memory; m != nil {
		field(w, "memory", "anonymous %s, of files %s, shared %s, swapped out %s", byteSize(m.Anon), byteSize(m.File), byteSize(m.Shmem), byteSize(m.Swap))
	}
	if t.Identity != nil {
		printIdentity(w, t)
	}
	if s := t.Signals; s != nil && len(s.Pending)+len(s.Shared) > 0 {
		field(w, "pending", "%s; for the process: %s; blocked %s", none(s.Pending), none(s.Shared), s.Blocked)
	}
	if p := t.Place; p != nil && p.Cwd != "" {
		field(w, "directory", "%s (root %s)", p.Cwd, p.Root)
		if p.Exe != "" {
			field(w, "program", "%s", p.Exe)
		}
	}
	if t.Program != nil {
		printStrings(w, "arguments", t.Program.Args, t.Program.ArgsWhy)
	}
}

func none(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " ")
}

func printSched(w *printer, s *tasks.Sched) {
	more := ""
	if s.RTPrio != 0 {
		more = fmt.Sprintf(", real-time priority %d", s.RTPrio)
	}
	if d := s.Deadline; d != nil {
		more = fmt.Sprintf(", %v in %v of each %v", time.Duration(d.Runtime), time.Duration(d.Deadline), time.Duration(d.Period))
		if d.Throttled {
			more += ", used up"
		}
	}
	field(w, "policy", "%s, priority %d, nice %d%s", s.Policy, s.Prio, s.Nice, more)
	line := fmt.Sprintf("ran %v (user %v, system %v), started at %v", time.Duration(s.Runtime), time.Duration(s.User), time.Duration(s.System), time.Duration(s.Start))
	for _, ago := range []struct {
		ns   *uint64
		text string
	}{{s.RanAgo, "last ran %v before the dump"}, {s.SwitchedAgo, "put on its processor %v before"}, {s.WaitsFor, "waits for a processor for %v"}} {
		if ago.ns != nil {
			line += ", " + fmt.Sprintf(ago.text, time.Duration(*ago.ns))
		}
	}
	field(w, "times", "%s", line)
}

func printIdentity(w *printer, t *tasks.Task) {
	id := t.Identity
	field(w, "ids", "user %d/%d/%d/%d, group %d/%d/%d/%d (real/effective/saved/file system)", id.UID, id.EUID, id.SUID, id.FSUID, id.GID, id.EGID, id.SGID, id.FSGID)
	if len(id.Numbers) > 1 {
		field(w, "pids", "%s, from the first pid namespace to its own", strings.Trim(fmt.Sprint(id.Numbers), "[]"))
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(id.Namespaces)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, id.Namespaces[kind]))
	}
	field(w, "namespaces", "%s", strings.Join(parts, ", "))
	for _, g := range id.Cgroups {
		name := "cgroup"
		if len(g.Controllers) > 0 {
			name = strings.Join(g.Controllers, ",")
		}
		field(w, name, "%s", g.Path)
	}
}

// fileTypes are the types of files as crash abbreviates them.
var fileTypes = map[string]string{"regular file": "REG", "directory": "DIR", "character device": "CHR", "block device": "BLK",
	"fifo": "FIFO", "socket": "SOCK", "symbolic link": "LNK"}

// printFiles prints open files in the columns of crash's files: FILE, DENTRY, INODE, TYPE
// and PATH.
func printFiles(w *printer, t *tasks.Task) {
	for i := range t.Files {
		f := &t.Files[i]
		field(w, "fd "+strconv.Itoa(f.FD), "%016x %016x %016x %-4s %s  (%s, at %d)", uint64(f.Addr), uint64(f.Dentry), uint64(f.Inode),
			cmp.Or(fileTypes[f.Type], "UNKN"), f.Path, strings.Join(f.Flags, " "), f.Pos)
	}
}

// printMounts prints mounts as mount(8) does. Options that only the file system's
// own code can tell are not among them.
func printMounts(w *printer, t *tasks.Task) {
	for i := range t.Mounts {
		m := &t.Mounts[i]
		options := slices.Clone(m.Options)
		if m.Super[0] == "ro" {
			options[0] = "ro"
		}
		part := ""
		if m.Inside != "/" {
			part = " from " + m.Inside
		}
		field(w, "mount "+strconv.Itoa(int(m.ID)), "%s%s on %s type %s (%s)", m.Source, part, m.Path, m.Type, strings.Join(append(options, m.Super[1:]...), ","))
	}
}

func printStrings(w *printer, name string, list []string, why string) {
	if len(list) > 0 {
		field(w, name, "%s", strings.Join(list, " "))
	}
	if why != "" {
		field(w, name, "<%s>", why)
	}
}
