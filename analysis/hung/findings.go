package hung

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/analysis/finding"
)

// Ids of the findings.
const (
	idHung  = "hung.tasks"
	idSoft  = "hung.soft-lockup"
	idHard  = "hung.hard-lockup"
	idStall = "hung.rcu-stall"
)

func (a *analyzer) findings() []finding.Finding {
	list := a.hungTasks()
	for i := range a.r.CPUs {
		list = append(list, a.lockups(&a.r.CPUs[i])...)
	}
	if f, ok := a.stalls(); ok {
		list = append(list, f)
	}
	return list
}

// hungTasks is a finding for each root that tasks have waited too long for.
func (a *analyzer) hungTasks() []finding.Finding {
	list := []finding.Finding{}
	byRoot := map[string][]int{}
	var order []string
	for i := range a.r.Tasks {
		t := &a.r.Tasks[i]
		if !t.Hung && len(t.Messages) == 0 {
			continue
		}
		if byRoot[t.Root] == nil {
			order = append(order, t.Root)
		}
		byRoot[t.Root] = append(byRoot[t.Root], i)
	}
	slices.SortStableFunc(order, func(x, y string) int { return len(byRoot[y]) - len(byRoot[x]) })
	for n, root := range order {
		if n == maxFindings {
			break
		}
		list = append(list, a.hungFinding(root, byRoot[root]))
	}
	return list
}

const (
	maxFindings = 20
	maxEvidence = 5
)

func (a *analyzer) hungFinding(root string, tasks []int) finding.Finding {
	f := finding.Finding{ID: idHung, Severity: finding.Critical, Confidence: finding.Certain}
	longest := uint64(0)
	for n, i := range tasks {
		t := &a.r.Tasks[i]
		longest = max(longest, orZero(t.Blocked))
		if n >= maxEvidence {
			continue
		}
		fact := fmt.Sprintf("%d \"%s\" has been blocked for %s, %s", t.PID, t.Comm, seconds(t.Blocked), t.Why())
		if len(t.Messages) > 0 {
			fact += fmt.Sprintf("; khungtaskd reported it %s", times(len(t.Messages)))
		}
		f.Evidence = append(f.Evidence, finding.Evidence{Fact: fact, Command: fmt.Sprintf("bt %d", t.PID)})
	}
	f.Statement = fmt.Sprintf("%s uninterruptibly for up to %s", count(len(tasks), "task has slept", "tasks have slept"), seconds(&longest))
	switch {
	case root == "":
		f.Statement += " for no lock that is known to be held up by another task"
	default:
		f.Statement += fmt.Sprintf("; %s waiting ends at %s", map[bool]string{true: "its", false: "their"}[len(tasks) == 1], root)
		f.Advice = []string{"'mortem locks DUMP' shows who holds what they wait for, and how that is known"}
	}
	return f
}

// Why is what a task waits for, or what it does.
func (t *Task) Why() string {
	switch {
	case t.Waits != "":
		return "waits for " + t.Waits
	case t.Doing.What == "sleeps" && t.Doing.Function != "":
		return "sleeps in " + t.Doing.Function
	}
	return t.Doing.What
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func seconds(ns *uint64) string {
	if ns == nil || *ns == 0 {
		return "a time that is not known"
	}
	return fmt.Sprintf("%.1f s", float64(*ns)/1e9)
}

// lockups are what speaks for a processor that is stuck: the kernel's own report of
// the task that still runs there, or its watchdog's time.
func (a *analyzer) lockups(c *CPU) []finding.Finding {
	var list []finding.Finding
	for _, kind := range []struct {
		id     string
		kind   Kind
		name   string
		marked bool
	}{{idSoft, SoftLockup, "does not schedule (soft lockup)", c.Warned || c.Soft}, {idHard, HardLockup, "takes no interrupts (hard lockup)", c.WarnedHard}} {
		var evidence []finding.Evidence
		reported := false
		for _, i := range c.Messages {
			m := &a.r.Messages[i]
			if m.Kind != kind.kind {
				continue
			}
			still := m.Subject == nil || m.Tied != nil && m.Tied.Task == c.Task
			reported = reported || still
			evidence = append(evidence, finding.Evidence{Fact: "the log: " + m.Text, Command: "log"})
		}
		if !reported && !kind.marked {
			continue
		}
		if len(evidence) > maxEvidence {
			evidence = evidence[len(evidence)-maxEvidence:]
		}
		f := finding.Finding{ID: kind.id, Severity: finding.Critical, Confidence: finding.Certain, Evidence: evidence}
		f.Statement = fmt.Sprintf("CPU %d %s: it runs %d \"%s\"", c.Number, kind.name, c.PID, c.Comm)
		a.describe(&f, c)
		if !reported {
			f.Confidence, f.Method = finding.Suspected, "the watchdog's own variables, and no line in the log"
		}
		list = append(list, f)
	}
	return list
}

// describe says what a stuck processor does.
func (a *analyzer) describe(f *finding.Finding, c *CPU) {
	if c.Doing != nil && c.Doing.Function != "" {
		f.Statement += ", in " + c.Doing.Function
	}
	if c.Spins != "" {
		f.Statement += ", and spins for " + c.Spins
		f.Advice = append(f.Advice, "the lock's holder is to blame: 'mortem locks DUMP'")
	}
	if c.Stuck != nil {
		f.Evidence = append(f.Evidence, finding.Evidence{Fact: fmt.Sprintf("its watchdog has not run for %s", seconds(c.Stuck))})
	}
	if c.Blocks > 0 {
		f.Evidence = append(f.Evidence, finding.Evidence{Fact: count(c.Blocks, "task waits", "tasks wait") + " for what it runs", Command: fmt.Sprintf("locks --task %d", c.PID)})
	}
	f.Evidence = append(f.Evidence, finding.Evidence{Fact: "the stack: " + functions(c), Command: fmt.Sprintf("bt --cpu %d", c.Number)})
}

func functions(c *CPU) string {
	var names []string
	for i := range c.Stack {
		if name, _, _ := strings.Cut(c.Stack[i].Name, "+"); name != "" {
			names = append(names, name)
		}
		if len(names) == 8 {
			break
		}
	}
	if len(names) == 0 {
		return "not known"
	}
	return strings.Join(names, " ← ")
}

// stalls is the last RCU stall.
func (a *analyzer) stalls() (finding.Finding, bool) {
	last, n := -1, 0
	for i := range a.r.Messages {
		if a.r.Messages[i].Kind == RCUStall {
			last, n = i, n+1
		}
	}
	if last < 0 {
		return finding.Finding{}, false
	}
	m := &a.r.Messages[last]
	f := finding.Finding{ID: idStall, Severity: finding.Warning, Confidence: finding.Certain,
		Statement: fmt.Sprintf("RCU (%s) stalled %s; the last one waited for", m.Flavour, times(n))}
	if len(m.CPUs) > 0 {
		f.Statement += fmt.Sprintf(" CPU %s", strings.Trim(fmt.Sprint(m.CPUs), "[]"))
	}
	if len(m.PIDs) > 0 {
		f.Statement += fmt.Sprintf(" task %s", strings.Trim(fmt.Sprint(m.PIDs), "[]"))
	}
	if len(m.CPUs)+len(m.PIDs) == 0 {
		f.Statement += " what it does not say"
	}
	f.Evidence = []finding.Evidence{{Fact: "the log: " + m.Text, Command: "log"}}
	return f, true
}
