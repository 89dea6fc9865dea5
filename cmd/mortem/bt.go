package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/stacks"
)

// btFlags are the flags that need more than Options.
type btFlags struct {
	pids, tgids []int32
	all         bool
	states      []string
}

// check checks what the flags' own types do not.
func (f *btFlags) check(opt *stacks.Options) error {
	letters, err := stateLetters(f.states)
	if err != nil {
		return err
	}
	opt.States = strings.Join(letters, "")
	if opt.Unique && (opt.Raw || opt.Data || opt.Names || opt.Exceptions) {
		return usage("--unique folds stacks, and --raw, --data, --names and --exceptions tell of single ones")
	}
	return nil
}

func (a *app) btCommand() *cobra.Command {
	var opt stacks.Options
	var f btFlags
	c := &cobra.Command{
		Use:   "bt [flags] DUMP... [PID|ADDRESS|COMM|CPU]...",
		Short: "Print the stacks of tasks",
		Long: "bt prints the stacks of tasks: of those named by number, by the address of their task_struct\n" +
			"or by name, in which * stands for any characters and ? for one, or of all that the flags\n" +
			"leave. What follows the first dump and is no file is taken for a task, and CPU3 for what that\n" +
			"processor was running. Without any, it prints the tasks that the processors were running.\n\n" +
			"Each frame has the address of its place on the stack, the function, where in it, and the\n" +
			"address; one that was not found by unwind data says how, and how sure that is. --in finds\n" +
			"functions that the compiler inlined too, where there is DWARF, and shows them in their frames.\n\n" +
			"The flags of one letter are those of crash. Each word that --names names is followed by the\n" +
			"symbol, or by the slab cache in brackets, whose object it is in. --exceptions searches the\n" +
			"whole stack, and for a running task the other stacks of its processor: it finds remains too.",
		Example: "  mortem bt --vmlinux vmlinux vmcore\n" +
			"  mortem bt --vmlinux vmlinux vmcore 289\n" +
			"  mortem bt --vmlinux vmlinux --panic --locals vmcore\n" +
			"  mortem bt --vmlinux vmlinux --state D --unique vmcore\n" +
			"  mortem bt --vmlinux vmlinux vmcore 'kworker/*'\n" +
			"  mortem bt --vmlinux vmlinux --in mutex_lock --lines vmcore\n" +
			"  mortem bt --vmlinux vmlinux -F vmcore 289",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			files, names := splitDumps(args)
			opt.PIDs, opt.TGIDs = f.pids, f.tgids
			nameTasks(&opt, nameCPUs(&opt, names))
			if err := cmp.Or(lacksName(c, "comm", "state", "in"), f.check(&opt)); err != nil {
				return err
			}
			if f.all && (len(names) > 0 || opt.Running || opt.Panic) {
				return usage("--all goes with neither --running, --panic nor the name of a task")
			}
			if !f.all && !chooses(c) && len(names) == 0 {
				opt.Running = true
			}
			return a.bt(c, files, names, opt)
		},
	}
	fl := c.Flags()
	pidsFlag(fl, &f.pids, "pid", "only the threads with these `numbers`")
	pidsFlag(fl, &f.tgids, "process", "only the threads of the processes with these `numbers`")
	fl.StringSliceVar(&opt.Comms, "comm", nil, "only the tasks with these names, such as 'kworker/*'")
	fl.VarP(cpuList{&opt.CPUs}, "cpu", "c", "only what these processors were running, such as 0,2-3")
	fl.StringSliceVar(&f.states, "state", nil, "only tasks in these states: letters (D), crash's (UN) or words (zombie)")
	fl.BoolVarP(&opt.Running, "running", "a", false, "only what the processors were running")
	fl.BoolVarP(&opt.Panic, "panic", "p", false, "only what the processor that panicked was running")
	fl.StringSliceVar(&opt.In, "in", nil, "only stacks with one of these functions, such as '*_lock_slowpath', be they inlined")
	fl.BoolVar(&f.all, "all", false, "all tasks")
	fl.BoolVar(&opt.Unique, "unique", false, "fold equal stacks, and count them")
	fl.BoolVarP(&opt.Raw, "raw", "r", false, "print the memory of the stacks too")
	fl.BoolVarP(&opt.Data, "data", "f", false, "print the memory of each frame")
	fl.BoolVarP(&opt.Names, "names", "F", false, "and what its words point to: symbols, objects of slab caches (with --raw too)")
	fl.BoolVarP(&opt.Exceptions, "exceptions", "e", false, "print, instead of the frames, the registers that exceptions left on the stacks")
	fl.BoolVar(&opt.Registers, "registers", false, "print the registers that are known of each frame")
	fl.BoolVarP(&opt.Lines, "lines", "l", false, "print source lines, and functions inlined into others")
	fl.BoolVar(&opt.Locals, "locals", false, "print parameters and local variables")
	fl.BoolVarP(&opt.Scan, "text", "t", false, "search for return addresses, and use no unwind data")
	mostFlag(fl, &opt.Limit, "limit", 512, "print no more than this many frames of a stack")
	a.kernelFlags(fl)
	return c
}

// chooses tells whether a flag chooses tasks.
func chooses(c *cobra.Command) bool {
	for _, name := range []string{"pid", "process", "comm", "cpu", "state", "running", "panic", "in", "unique"} {
		if c.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// lacksName is the error for a flag that takes names and was given an empty one.
func lacksName(c *cobra.Command, flags ...string) error {
	for _, name := range flags {
		list, err := c.Flags().GetStringSlice(name)
		if c.Flags().Changed(name) && (err != nil || len(list) == 0 || slices.Contains(list, "")) {
			return usage("--%s: an empty name", name)
		}
	}
	return nil
}

// splitDumps tells the files of a dump from the names of tasks behind them.
func splitDumps(args []string) (files, names []string) {
	for i, arg := range args {
		if _, err := os.Stat(arg); i > 0 && errors.Is(err, os.ErrNotExist) {
			return args[:i], args[i:]
		}
	}
	return args, nil
}

// nameCPUs adds processors by names such as CPU3, and returns the other names.
func nameCPUs(opt *stacks.Options, names []string) (others []string) {
	for _, name := range names {
		if len(name) > 3 && strings.EqualFold(name[:3], "cpu") {
			if n, err := strconv.ParseUint(name[3:], 10, 16); err == nil {
				opt.CPUs = append(opt.CPUs, int(n))
				continue
			}
		}
		others = append(others, name)
	}
	return others
}

// nameTasks adds tasks by number, address or name.
func nameTasks(opt *stacks.Options, names []string) {
	for _, name := range names {
		if n, err := strconv.ParseInt(name, 10, 32); err == nil {
			opt.PIDs = append(opt.PIDs, int32(n))
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimPrefix(name, "0x"), 16, 64); err == nil && n>>63 != 0 {
			opt.Addrs = append(opt.Addrs, n)
			continue
		}
		opt.Comms = append(opt.Comms, name)
	}
}

func (a *app) bt(c *cobra.Command, files, names []string, opt stacks.Options) error {
	return a.withKernel(files, func(s *session) error {
		tasks, err := stacks.Open(s.kernel)
		if err != nil {
			return unusable(err)
		}
		r, err := tasks.Collect(c.Context(), opt)
		if err != nil {
			return unusable(err)
		}
		if r.Selected == 0 && len(r.Unknown) > 0 {
			return notThere(r.Unknown, names)
		}
		for _, what := range r.Missing {
			a.warn("%s", what)
		}
		err = a.answer(r, &r.Coverage, func(w *printer) { printStacks(w, r) })
		if len(r.Unknown) > 0 {
			return notThere(r.Unknown, names)
		}
		return err
	})
}

func printStacks(w *printer, r *stacks.Report) {
	if r.Selected == 0 {
		w.line("none of %d tasks fits", r.Searched)
	}
	for i := range r.Stacks {
		if i > 0 {
			w.line("")
		}
		printStack(w, &r.Stacks[i])
	}
	for i := range r.Groups {
		if i > 0 {
			w.line("")
		}
		printFolded(w, &r.Groups[i])
	}
	if len(r.Overflowed) > 0 {
		w.line("")
		w.line("stacks that overflowed, their marks at the end being written over: %s", taskNames(r.Overflowed))
	}
}

func printFolded(w *printer, g *stacks.Group) {
	noun := "tasks"
	if g.Count == 1 {
		noun = "task"
	}
	w.line("%d %s: %s", g.Count, noun, taskNames(g.Tasks))
	printFrames(w, g.Frames, g.End, g.Error, true)
}

// taskNames lists tasks as STATE COMM PID, those of one name together.
func taskNames(list []stacks.Task) string {
	var order []string
	pids := map[string][]string{}
	for _, t := range list {
		key := t.State + " \"" + t.Comm + "\""
		if t.Running {
			key = "on CPU \"" + t.Comm + "\""
		}
		if pids[key] == nil {
			order = append(order, key)
		}
		pids[key] = append(pids[key], strconv.Itoa(int(t.PID)))
	}
	var parts []string
	for _, key := range order {
		ids := pids[key]
		more := ""
		if len(ids) > maxNamed {
			ids, more = ids[:maxNamed], fmt.Sprintf(" … %d more", len(pids[key])-maxNamed)
		}
		if len(parts) < maxNamed {
			parts = append(parts, key+" "+strings.Join(ids, " ")+more)
		}
	}
	if n := len(order) - len(parts); n > 0 {
		parts = append(parts, fmt.Sprintf("and tasks of %d more names", n))
	}
	return strings.Join(parts, ", ")
}

const maxNamed = 12

func printStack(w *printer, s *stacks.Stack) {
	cpu := "?"
	if s.CPU >= 0 {
		cpu = strconv.Itoa(s.CPU)
	}
	running := ""
	if s.Running {
		running = "  (running)"
	}
	w.line("PID: %-7d TASK: %016x  CPU: %-3s STATE: %s  COMMAND: \"%s\"%s", s.PID, uint64(s.Addr), cpu, s.State, s.Comm, running)
	if next := s.SwitchingTo; next != nil {
		w.line("    CPU %s was switching to %d \"%s\", which its run queue has already; its registers and stack are still this task's", cpu, next.PID, next.Comm)
	}
	if s.NextOn != nil {
		w.line("    CPU %d was switching to this task", *s.NextOn)
	}
	if s.Found != nil { // there are none of a stack that was not searched
		printFound(w, s.Found)
		return
	}
	printFrames(w, s.Frames, s.End, s.Error, false)
	if s.User != nil {
		printRegisters(w, s.User.Registers)
	}
	for i := range s.Raw {
		printWord(w, &s.Raw[i])
	}
}

func printFrames(w *printer, frames []stacks.Frame, end, why string, short bool) {
	stack := ""
	for i := range frames {
		f := &frames[i]
		if stack != "" && f.Stack != stack {
			w.line("--- <%s stack> ---", stack)
		}
		stack = f.Stack
		printFrame(w, f, short)
	}
	switch end {
	case "broken":
		w.line("    the stack breaks here: %s", why)
	case "limit":
		w.line("    … and more frames (--limit)")
	case "freed":
		w.line("    (exited; its stack is freed)")
	case "user mode":
		if len(frames) == 0 {
			w.line("    (in user mode)")
		}
	}
}

func printFrame(w *printer, f *stacks.Frame, short bool) {
	if f.Note != "" {
		w.line("    %s", f.Note)
	}
	name := f.Function
	if name == "" {
		name = "(unknown)"
	} else {
		name = fmt.Sprintf("%s+%#x", name, f.Offset)
	}
	if f.Module != "" {
		name += " [" + f.Module + "]"
	}
	how := ""
	switch f.Method {
	case "ORC", "CFI", "registers", "switch", "exception":
	default:
		how = fmt.Sprintf("  (%s, %s)", f.Method, f.Confidence)
	}
	if how == "" && f.Confidence != "certain" {
		how = "  (" + f.Confidence + ")"
	}
	if f.Hooked != "" {
		how += "  (return address replaced by " + f.Hooked + ")"
	}
	if short {
		w.line("%3s %s at %016x%s", fmt.Sprintf("#%d", f.Index), name, uint64(f.PC), how)
	} else {
		at := f.SP
		if f.Slot != 0 && f.Method != "exception" {
			at = f.Slot
		}
		w.line("%3s [%016x] %s at %016x%s", fmt.Sprintf("#%d", f.Index), uint64(at), name, uint64(f.PC), how)
	}
	for _, s := range f.Source {
		printSource(w, &s)
	}
	printData(w, f.Data)
	if len(f.Registers) > 0 {
		printRegisters(w, f.Registers)
	}
	if f.Exception != nil && !f.Exception.User {
		w.line("    [exception %s: %s]", pcName(f.Exception.Registers), f.Exception.At)
		printRegisters(w, f.Exception.Registers)
	}
}

func printSource(w *printer, s *stacks.Source) {
	place := ""
	if s.File != "" {
		place = fmt.Sprintf(" at %s:%d", s.File, s.Line)
	}
	inlined := ""
	if s.Inlined {
		inlined = " (inlined)"
	}
	w.line("        %s%s%s", s.Function, inlined, place)
	for _, l := range s.Locals {
		value := l.Value
		if value == "" {
			value = "<" + l.Unknown + ">"
		}
		kind := "local"
		if l.Parameter {
			kind = "param"
		}
		where := ""
		if l.Where != "" {
			where = "  (" + l.Where + ")"
		}
		w.line("            %s %s %s = %s%s", kind, l.Type, l.Name, value, where)
	}
}

// crashNames are the registers' names as crash and the processor's manual write
// them.
var crashNames = map[string]string{"ip": "RIP", "sp": "RSP", "flags": "RFLAGS", "orig_ax": "ORIG_RAX", "cs": "CS", "ss": "SS"}

// ofX86 tells registers of x86-64 from those of arm64.
func ofX86(list []stacks.Register) bool {
	return !slices.ContainsFunc(list, func(r stacks.Register) bool { return r.Name == "x29" || r.Name == "pc" })
}

// pcName is what the architecture calls its program counter.
func pcName(list []stacks.Register) string {
	if ofX86(list) {
		return "RIP"
	}
	return "PC"
}

func printRegisters(w *printer, list []stacks.Register) {
	var b strings.Builder
	x86 := ofX86(list)
	for i, r := range list {
		if i%4 == 0 && i > 0 {
			b.WriteString("\n")
		}
		name := crashNames[r.Name]
		switch {
		case !x86: // arm64, whose registers have their names in struct pt_regs too
			name = strings.ToUpper(r.Name)
		case name != "":
		case len(r.Name) == 2 && r.Name[0] != 'r':
			name = "R" + strings.ToUpper(r.Name)
		default:
			name = strings.ToUpper(r.Name)
		}
		fmt.Fprintf(&b, " %9s: %016x", name, uint64(r.Value))
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if line != "" {
			w.line("  %s", line)
		}
	}
}
