package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/analysis/locks/drawing"
	"github.com/kmortem/mortem/kernel/lock"
)

// locksFlags are the flags that need more than Options.
type locksFlags struct {
	dot, svg string
	all      bool
	long     bool
}

func (a *app) locksCommand() *cobra.Command {
	var opt locks.Options
	var f locksFlags
	c := &cobra.Command{
		Use:   "locks [flags] DUMP...",
		Short: "Tell who blocks whom: deadlocks, root blockers, and who waits for which lock",
		Long: "locks finds for each task that waits for a lock, asleep or spinning, which one it is and who\n" +
			"holds it, and puts that together: first deadlocks, then the root blockers, at whom all\n" +
			"waiting ends, with how many tasks wait for each and what it was doing, then the locks\n" +
			"with their waiters, and at last the tasks whose waiting could not be explained.\n\n" +
			"What the kernel's own structures say is certain; what was worked out from a stack is\n" +
			"likely; a holder that was inferred, as of a spinlock, is suspected; the last reader of a\n" +
			"rw_semaphore is a hint, for it may have left. A deadlock is as sure as its weakest part.\n\n" +
			"Locks in allocated memory are named by the object that they are in, as far as it is known;\n" +
			"a vmlinux, which has the variables of functions, names more of them than a pack or the\n" +
			"dump's own types do. Those in objects of modules need the modules' debug information:\n" +
			"below --debug-dir, or in a pack that was made with them.\n\n" +
			"--task and --lock leave only what has to do with them: whom they wait for, and who waits\n" +
			"for them. --dot and --svg draw the same, and need no other program.",
		Example: "  mortem locks --vmlinux vmlinux vmcore\n" +
			"  mortem locks --vmlinux vmlinux --task 1234 vmcore\n" +
			"  mortem locks --vmlinux vmlinux --lock rtnl_mutex --svg rtnl.svg vmcore\n" +
			"  mortem locks --vmlinux vmlinux --fail-on critical --json vmcore",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			if f.dot == "-" && (f.svg == "-" || a.json) || f.svg == "-" && a.json {
				return usage("standard output takes one of --json, --dot - and --svg -")
			}
			return a.locks(c, args, opt, &f)
		},
	}
	fl := c.Flags()
	fl.StringSliceVar(&opt.Tasks, "task", nil, "only what has to do with these tasks: a thread id or the address of a task_struct")
	fl.StringSliceVar(&opt.Locks, "lock", nil, "only what has to do with these locks: an address, that of the object that the lock is in, a variable, or what else a lock is called here, such as the path of its file")
	fl.StringVar(&f.dot, "dot", "", "write the graph to this file in the DOT language; - for standard output")
	fl.StringVar(&f.svg, "svg", "", "draw the graph into this file; - for standard output")
	fl.BoolVar(&opt.Interruptible, "interruptible", false, "take in tasks that sleep interruptibly on wait queues and futexes")
	fl.BoolVar(&opt.NoSuspects, "no-suspects", false, "do not look for holders that have to be inferred")
	fl.BoolVarP(&f.long, "long", "l", false, "print the whole stack of each root blocker")
	fl.BoolVar(&f.all, "all", false, "print all locks and all waiters")
	a.kernelFlags(fl)
	a.findingFlags(fl)
	return c
}

func (a *app) locks(c *cobra.Command, files []string, opt locks.Options, f *locksFlags) error {
	return a.withKernel(files, func(s *session) error {
		r, err := locks.Analyze(c.Context(), s.fs, opt)
		if err != nil {
			return named(err)
		}
		if err := a.draw(r, f); err != nil {
			return err
		}
		return a.answerFindings(r, &r.Coverage, r.Findings, func(w *printer) {
			if f.dot != "-" && f.svg != "-" {
				printLocks(w, r, f)
			}
		})
	})
}

// draw writes the pictures.
func (a *app) draw(r *locks.Report, f *locksFlags) error {
	for _, p := range []struct {
		name string
		draw func(io.Writer, *locks.Report) error
	}{{f.dot, drawing.DOT}, {f.svg, drawing.SVG}} {
		switch p.name {
		case "":
		case "-":
			if err := p.draw(a.stdout, r); err != nil {
				return err
			}
		default:
			if err := writeFile(p.name, func(w io.Writer) error { return p.draw(w, r) }); err != nil {
				return usage("%w", err)
			}
		}
	}
	return nil
}

// writeFile makes a file, or replaces it.
func writeFile(name string, write func(io.Writer) error) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(out); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

func printLocks(w *printer, r *locks.Report, f *locksFlags) {
	w.line("%d tasks wait for locks asleep, %d spin; deadlocks: %d; root blockers: %d", r.Blocked, r.Spinning, len(r.Deadlocks)+r.MoreDeadlocks, len(r.Roots))
	if r.Caution != "" {
		w.line("CAUTION: %s", r.Caution)
	}
	for _, text := range r.Apart {
		w.line("%s", text)
	}
	for i := range r.Chains {
		w.line("%s", r.Chains[i].Text)
	}
	printDeadlocks(w, r)
	printRoots(w, r, f)
	printLockList(w, r, f)
	printUnexplained(w, r, f)
	printAdvice(w, r)
	printLocksCoverage(w, r)
}

func printDeadlocks(w *printer, r *locks.Report) {
	if len(r.Deadlocks) == 0 {
		return
	}
	w.line("\nDEADLOCKS")
	for i := range r.Deadlocks {
		d := &r.Deadlocks[i]
		more := ""
		if d.Knot > len(d.Steps) {
			more = fmt.Sprintf(", in a knot of %d", d.Knot)
		}
		if d.Behind > 0 {
			more += fmt.Sprintf("; %d more wait for them", d.Behind)
		}
		noun := "tasks"
		if len(d.Steps) == 1 {
			noun = "task"
		}
		w.line("  [%s] %d %s%s", d.Confidence, len(d.Steps), noun, more)
		for j := range d.Steps {
			s := &d.Steps[j]
			w.line("    %s", taskLine(&r.Graph.Tasks[s.Task.Index]))
			w.line("      holds     %s  (%s)", s.Holds, how(string(s.HoldsBy), s.HoldSure))
			w.line("      waits for %s  (%s)", s.Waits, how(string(s.WaitsBy), s.WaitSure))
		}
	}
	if r.MoreDeadlocks > 0 {
		w.line("  … and %d more", r.MoreDeadlocks)
	}
}

// how tells by what an edge is known, and how sure it is where it is not certain.
func how(method string, sure lock.Confidence) string {
	if sure == lock.Certain {
		return "by " + method
	}
	return fmt.Sprintf("by %s, %s", method, sure)
}

// heldWords say how sure it is that a task holds a lock.
var heldWords = map[lock.Confidence]string{lock.Certain: "held", lock.Likely: "likely held", lock.Suspected: "suspected to be held", lock.Hint: "perhaps held"}

// taskLine is a task with its state.
func taskLine(t *lock.Task) string {
	if t.Gone != "" {
		return locks.TaskName(t) + ": " + t.Gone
	}
	state := t.State
	if t.Running {
		state = fmt.Sprintf("on CPU %d", t.CPU)
	}
	return fmt.Sprintf("%s %s", locks.TaskName(t), state)
}

// shownRoots and the like bound what is printed without --all.
const (
	shownRoots   = 40
	shownLocks   = 60
	shownWaiters = 12
	shownFrames  = 7
)

func printRoots(w *printer, r *locks.Report, f *locksFlags) {
	if len(r.Roots) == 0 {
		return
	}
	w.line("\nROOT BLOCKERS: who is waited for, and waits for nobody")
	for i := range r.Roots {
		if i == shownRoots && !f.all {
			w.line("  … %d more (--all)", len(r.Roots)-i)
			break
		}
		if root := &r.Roots[i]; root.Kind != locks.RootDeadlock || root.All > 0 {
			printRoot(w, r, root, f)
		}
	}
}

func printRoot(w *printer, r *locks.Report, root *locks.Root, f *locksFlags) {
	count := fmt.Sprintf("%d tasks wait", root.All)
	if root.All == 1 {
		count = "1 task waits"
	}
	if root.AtLeast {
		count += " at least"
	}
	if root.Direct != root.All {
		count += fmt.Sprintf(" (%d directly)", root.Direct)
	}
	if root.Longest != nil {
		count += ", the longest for " + drawing.Duration(*root.Longest)
	}
	switch root.Kind {
	case locks.RootDeadlock:
		var names []string
		for _, t := range root.Tasks {
			names = append(names, locks.TaskName(&r.Graph.Tasks[t.Index]))
		}
		w.line("  the deadlock of %s: %s", strings.Join(names, ", "), count)
		return
	case locks.RootLock:
		w.line("  %s: %s", root.Locks[0], count)
		why := "nobody is known to hold it"
		if root.Why != "" {
			why += ": " + root.Why
		}
		w.line("      %s", why)
		return
	}
	sure := ""
	if root.Confidence != lock.Certain {
		sure = fmt.Sprintf(" (%s)", root.Confidence)
	}
	w.line("  %s%s: %s", taskLine(&r.Graph.Tasks[root.Tasks[0].Index]), sure, count)
	for n, l := range root.Locks {
		if n == 3 && !f.all {
			w.line("      and %d more locks", len(root.Locks)-n)
			break
		}
		w.line("      by %s  (%s)", l, holdText(r, root, l))
	}
	if root.WaitsFor != nil {
		w.line("      waits itself for %s, of which no holder is known", root.WaitsFor)
	}
	if root.Doing != nil {
		printDoing(w, root.Doing, f.long)
	}
}

// holdText tells how it is known that a root holds a lock.
func holdText(r *locks.Report, root *locks.Root, l locks.LockRef) string {
	for i := range r.Graph.Holds {
		if h := &r.Graph.Holds[i]; h.Lock == l.Index && h.Task == root.Tasks[0].Index {
			return locks.HoldText(h)
		}
	}
	return ""
}

func printDoing(w *printer, d *locks.Doing, long bool) {
	at := ""
	if d.Function != "" {
		at = ", in " + d.Function
	}
	w.line("      %s%s", d.What, at)
	if long {
		printFrameList(w, d.Stack, "        ")
		return
	}
	if text := stackLine(d.Stack); text != "" {
		w.line("      stack: %s", text)
	}
}

// stackLine is a stack on one line: the innermost functions, without those of the
// scheduler.
func stackLine(stack []locks.Frame) string {
	var names []string
	for i := range stack {
		name, _, _ := strings.Cut(stack[i].Name, "+")
		switch {
		case name == "":
			name = "(unknown)"
		case len(names) == 0 && locks.Scheduler(name):
			continue
		}
		if len(names) == shownFrames {
			names = append(names, "…")
			break
		}
		names = append(names, name)
	}
	return strings.Join(names, " ← ")
}

func printFrameList(w *printer, stack []locks.Frame, indent string) {
	for i := range stack {
		f := &stack[i]
		name := f.Name
		if name == "" {
			name = "(unknown)"
		}
		if f.Module != "" {
			name += " [" + f.Module + "]"
		}
		if f.Confidence != "certain" {
			name += "  (" + f.Confidence + ")"
		}
		w.line("%s#%d %s at %016x", indent, i, name, uint64(f.PC))
	}
}

// printLockList prints each lock that somebody waits for: the one with the most
// waiters first.
func printLockList(w *printer, r *locks.Report, f *locksFlags) {
	g := &r.Graph
	waits := make([][]int, len(g.Locks))
	for i := range g.Waits {
		waits[g.Waits[i].Lock] = append(waits[g.Waits[i].Lock], i)
	}
	holds := make([][]int, len(g.Locks))
	for i := range g.Holds {
		holds[g.Holds[i].Lock] = append(holds[g.Holds[i].Lock], i)
	}
	var order []int
	for i := range g.Locks {
		if len(waits[i]) > 0 || len(r.Chains) > 0 {
			order = append(order, i)
		}
	}
	if len(order) == 0 {
		return
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(waits[b]) - len(waits[a]) })
	w.line("\nLOCKS: who waits for each")
	for n, i := range order {
		if n == shownLocks && !f.all {
			w.line("  … %d more (--all)", len(order)-n)
			break
		}
		printLock(w, r, i, waits[i], holds[i], f)
	}
}

func printLock(w *printer, r *locks.Report, i int, waits, holds []int, f *locksFlags) {
	g := &r.Graph
	l := &g.Locks[i]
	name := locks.Name(l)
	if !strings.Contains(name, l.Addr.String()) {
		name += " " + l.Addr.String()
	}
	state := ""
	if l.State != "" {
		state = ": " + l.State
	}
	w.line("  %s %s%s", l.Kind, name, state)
	for _, h := range holds {
		hold := &g.Holds[h]
		mode := ""
		if hold.Mode != "" {
			mode = " for " + map[lock.Mode]string{lock.Read: "reading", lock.Write: "writing"}[hold.Mode]
		}
		words := heldWords[hold.Sure] + mode + " by"
		if l.Kind == lock.Pipe {
			words = "its other end is open in" // which the waiting task itself may have
		}
		w.line("      %s %s  (by %s)", words, taskLine(&g.Tasks[hold.Task]), hold.Method)
	}
	if len(holds) == 0 && l.NoHolder != "" {
		w.line("      no holder is known: %s", l.NoHolder)
	}
	if l.Broken != "" {
		w.line("      not all of it could be read: %s", l.Broken)
	}
	slices.SortStableFunc(waits, func(a, b int) int { return inQueue(&g.Waits[a], &g.Waits[b]) })
	for n, at := range waits {
		if n == shownWaiters && !f.all {
			w.line("      … %d more wait (--all)", len(waits)-n)
			break
		}
		w.line("      %s", waitLine(g, &g.Waits[at]))
	}
}

// inQueue orders waiters as they are in the lock's queue, those last whose place is not
// known.
func inQueue(a, b *lock.Wait) int {
	if (a.Position < 0) != (b.Position < 0) {
		return b.Position - a.Position
	}
	return a.Position - b.Position
}

func waitLine(g *lock.Snapshot, wait *lock.Wait) string {
	verb := "waits"
	if wait.Spinning {
		verb = "spins"
	}
	text := fmt.Sprintf("%s %s", taskLine(&g.Tasks[wait.Task]), verb)
	if wait.Mode != "" {
		text += map[lock.Mode]string{lock.Read: " to read", lock.Write: " to write"}[wait.Mode]
	}
	if wait.Known {
		text += ", for " + drawing.Duration(wait.For)
	}
	if in := g.Tasks[wait.Task].Doing; in != "" {
		text += ", in " + in
	}
	if wait.Sure != lock.Certain && len(wait.Methods) > 0 {
		text += "  (" + how(string(wait.Methods[0]), wait.Sure) + ")"
	}
	return text
}

func printUnexplained(w *printer, r *locks.Report, f *locksFlags) {
	if len(r.Graph.Unexplained) == 0 {
		return
	}
	w.line("\nUNEXPLAINED: tasks that sleep uninterruptibly, or spin, and wait for no lock that was found")
	for i, u := range r.Graph.Unexplained {
		if i == shownRoots && !f.all {
			w.line("  … %d more (--all)", len(r.Graph.Unexplained)-i)
			break
		}
		at := ""
		if u.At != "" {
			at = " in " + u.At
		}
		w.line("  %s%s: %s", taskLine(&r.Graph.Tasks[u.Task]), at, u.Why)
	}
}

// printAdvice prints what to do about what is worse than a warning, each thing once.
func printAdvice(w *printer, r *locks.Report) {
	var told []string
	for i := range r.Findings {
		if r.Findings[i].Severity.Rank() < finding.Warning.Rank() {
			continue
		}
		for _, text := range r.Findings[i].Advice {
			if !slices.Contains(told, text) && len(told) < shownAdvice {
				told = append(told, text)
			}
		}
	}
	if len(told) == 0 {
		return
	}
	w.line("\nWHAT TO DO")
	for _, text := range told {
		w.line("  → %s", text)
	}
}

const shownAdvice = 5

func printLocksCoverage(w *printer, r *locks.Report) {
	if r.Coverage.Complete() {
		w.line("\n%d stacks, waiters, locks and owners were read, all that there were", r.Coverage.Read)
		return
	}
	w.line("\n%s", coverageLine(&r.Coverage))
}
