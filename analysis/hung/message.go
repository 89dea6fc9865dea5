package hung

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Kind is what a message of the kernel's watchdogs reports.
type Kind string

// The kinds.
const (
	HungTask        Kind = "hung task"        // khungtaskd: a task does not leave the state D
	Blocker         Kind = "blocker"          // khungtaskd, since 6.16: who holds what it waits for
	SoftLockup      Kind = "soft lockup"      // a processor does not schedule
	HardLockup      Kind = "hard lockup"      // a processor takes no interrupts
	RCUStall        Kind = "RCU stall"        // processors or tasks keep a grace period from ending
	WorkqueueLockup Kind = "workqueue lockup" // no worker gets on
	Panic           Kind = "panic"            // one of these had the kernel panic
)

// Message is what a line of the kernel log says. Members that its kind does not
// have are zero.
type Message struct {
	Kind Kind   `json:"kind"`
	Seq  uint64 `json:"seq"` // of the record; see printk.Record
	// Time is when it was written, in ns since boot; null where the log does not
	// tell.
	Time *uint64 `json:"time_ns"`
	Text string  `json:"text"` // the line, escaped
	// Subject is the task that it is about.
	Subject *Named  `json:"subject,omitempty"`
	CPUs    []int   `json:"cpus,omitempty"` // that it is about
	PIDs    []int32 `json:"pids,omitempty"` // tasks that an RCU grace period waits for
	Seconds uint64  `json:"seconds,omitempty"`
	IOWait  bool    `json:"io_wait,omitempty"`
	// Lock is what kind of lock a task waits for, in the message's own word, Owner
	// who holds it as far as the kernel knew: the last one to take it. NoOwner tells
	// that it knew none.
	Lock    string `json:"lock,omitempty"`
	Owner   *Named `json:"owner,omitempty"`
	NoOwner bool   `json:"no_owner,omitempty"`
	Flavour string `json:"flavour,omitempty"` // of RCU, such as "rcu_sched"
	Jiffies uint64 `json:"jiffies,omitempty"` // that an RCU grace period has lasted
	Tied    *Tied  `json:"tied,omitempty"`    // the Subject, as the dump shows it
}

// Named is a task as a message names it.
type Named struct {
	Comm string `json:"comm"` // escaped
	PID  int32  `json:"pid"`
	Mode string `json:"mode,omitempty"` // "reader" or "writer" of a rw-semaphore
}

// The lines, as the kernel has printed them from 2.6.32 to 7.x. A name may hold
// anything, colons and blanks included. What stands before them differs: nothing, or
// "NMI watchdog: " (3.17 to 4.11), "watchdog: " and "rcu: " since.
//
//   - kernel/hung_task.c. "in I/O wait" since 6.18; the blocker since 6.16, of
//     rw-semaphores since 6.17.
//   - kernel/softlockup.c, kernel/watchdog.c. "CPU%u: " before a hard lockup since 6.9;
//     the form with ", ip" is that of arch/x86/kernel/apic/nmi.c until 2.6.37.
//   - kernel/rcutree.c, kernel/rcu/tree_stall.h. The processors were in braces on the
//     same line until 3.x, and are on lines of their own since.
var (
	reHung = regexp.MustCompile(`^INFO: task (.*):(\d+) blocked (in I/O wait )?for more than (\d+) seconds`)
	reLock = regexp.MustCompile(`^INFO: task (.*):(\d+)(?: <(reader|writer)>)? (?:is )?blocked on an? ([\w-]+)(?:, but the [\w ]+ is not found| likely [\w ]+ by task (.*):(\d+)(?: <(reader|writer)>)?)`)
	reSoft = regexp.MustCompile(`^(?:NMI )?(?:watchdog: )?BUG: soft lockup - CPU#(\d+) stuck for (\d+)s! \[(.*):(\d+)\]`)
	reHard = regexp.MustCompile(`^(?:NMI )?(?:watchdog: )?(?:CPU\d+: )?(?:BUG: NMI )?Watchdog detected (?:hard )?LOCKUP on (?:cpu|CPU) ?(\d+)`)
	reRCU  = regexp.MustCompile(`^(?:rcu: )?INFO: (\w+) (?:self-)?detected (?:expedited )?stalls? on (?:CPUs?/tasks|CPUs?|tasks):?(.*)`)
	reOld  = regexp.MustCompile(`^INFO: RCU detected CPU (?:(\d+) stall|stalls:)(.*)`)
	reWork = regexp.MustCompile(`^(?:BUG: )?workqueue lockup - pool (?:cpus=([\d,-]+) )?.*stuck for (\d+)s!`)
	reDead = regexp.MustCompile(`^Kernel panic - not syncing: (?:hung_task: blocked tasks|softlockup: hung tasks|Hard LOCKUP|NMI Watchdog|Watchdog detected hard LOCKUP on cpu (\d+)|RCU Stall)`)

	// What follows an RCU stall.
	reStallCPU  = regexp.MustCompile(`^(?:rcu: )?\s+(\d+)-[^ :]+:? \(`)
	reStallTask = regexp.MustCompile(`(?:Tasks blocked on level-\d+ rcu_node \(CPUs? [\d,-]+\):)((?: P\d+[^ ]*)+)`)
	reStallEnd  = regexp.MustCompile(`(?:\((?:detected by \d+, )?t=(?:\d+/)?|\} )(\d+) jiffies`)
	reFirst     = regexp.MustCompile(`^\d+`)
)

// parser reads messages line by line, as those of RCU go over several.
type parser struct {
	list  []Message
	stall int  // lines that may still belong to the last message, an RCU stall
	open  bool // its brace is open
}

// stallLines is how far below its first line an RCU stall's list of processors may
// go on; other processors' lines may stand in between.
const stallLines = 1024

// maxMessages bounds the messages that are kept.
const maxMessages = 10000

// line reads a line of the log, escaped.
func (p *parser) line(seq uint64, at *uint64, text string) {
	m, ok := parse(text)
	if !ok {
		p.follow(text)
		return
	}
	if len(p.list) == maxMessages {
		return
	}
	m.Seq, m.Time, m.Text = seq, at, text
	p.list = append(p.list, m)
	p.stall, p.open = 0, false
	if m.Kind == RCUStall && m.Jiffies == 0 {
		p.stall, p.open = stallLines, strings.Contains(text, "{") && !strings.Contains(text, "}")
	}
}

// parse reads a line that begins a message.
func parse(text string) (Message, bool) {
	// Most lines are none of these.
	if !strings.Contains(text, "lock") && !strings.Contains(text, "LOCKUP") && !strings.Contains(text, "stall") && !strings.Contains(text, "panic") {
		return Message{}, false
	}
	for _, form := range forms {
		if g := form.re.FindStringSubmatch(text); g != nil {
			m := Message{Kind: form.kind}
			form.read(&m, g)
			return m, true
		}
	}
	return Message{}, false
}

var forms = []struct {
	kind Kind
	re   *regexp.Regexp
	read func(m *Message, g []string)
}{
	{HungTask, reHung, func(m *Message, g []string) {
		m.Subject, m.IOWait, m.Seconds = named(g[1], g[2], ""), g[3] != "", number(g[4])
	}},
	{Blocker, reLock, func(m *Message, g []string) {
		m.Subject, m.Lock = named(g[1], g[2], g[3]), g[4]
		if m.NoOwner = g[6] == ""; !m.NoOwner {
			m.Owner = named(g[5], g[6], g[7])
		}
	}},
	{SoftLockup, reSoft, func(m *Message, g []string) {
		m.CPUs, m.Seconds, m.Subject = cpus(g[1]), number(g[2]), named(g[3], g[4], "")
	}},
	{HardLockup, reHard, func(m *Message, g []string) { m.CPUs = cpus(g[1]) }},
	{RCUStall, reRCU, func(m *Message, g []string) {
		m.Flavour = strings.TrimSuffix(g[1], "_state")
		m.rest(g[2])
	}},
	{RCUStall, reOld, func(m *Message, g []string) {
		m.Flavour = "RCU"
		if g[1] != "" {
			m.CPUs = cpus(g[1])
			m.rest(g[2])
			return
		}
		list, end, _ := strings.Cut(g[2], "(")
		m.braces(list)
		m.rest("(" + end)
	}},
	{WorkqueueLockup, reWork, func(m *Message, g []string) { m.CPUs, m.Seconds = ranges(g[1]), number(g[2]) }},
	{Panic, reDead, func(m *Message, g []string) { m.CPUs = cpus(g[1]) }},
}

// rest reads what follows on the line of an RCU stall: " 3 (t=60000 jiffies)",
// " { 1 P77} (detected by 0, t=60002 jiffies, g=1, c=0, q=3)".
func (m *Message) rest(s string) {
	if _, list, found := strings.Cut(s, "{"); found {
		list, _, _ = strings.Cut(list, "}")
		m.braces(list)
	} else {
		m.CPUs = append(m.CPUs, cpus(reFirst.FindString(strings.TrimSpace(s)))...)
	}
	if g := reStallEnd.FindStringSubmatch(s); g != nil {
		m.Jiffies = number(g[1])
	}
}

// braces reads processors and tasks: "1 2-...D P77/1:b..l".
func (m *Message) braces(s string) {
	for _, word := range strings.Fields(s) {
		if after, ok := strings.CutPrefix(word, "P"); ok {
			m.PIDs = append(m.PIDs, pids(after)...)
			continue
		}
		m.CPUs = append(m.CPUs, cpus(reFirst.FindString(word))...)
	}
}

// follow reads a line below an RCU stall.
func (p *parser) follow(text string) {
	if p.stall == 0 {
		return
	}
	p.stall--
	m := &p.list[len(p.list)-1]
	if p.open {
		list, _, closed := strings.Cut(text, "}")
		m.braces(list)
		p.open = !closed
	}
	if g := reStallCPU.FindStringSubmatch(text); g != nil {
		m.CPUs = append(m.CPUs, cpus(g[1])...)
	}
	if g := reStallTask.FindStringSubmatch(text); g != nil {
		m.braces(g[1])
	}
	if g := reStallEnd.FindStringSubmatch(text); g != nil {
		m.Jiffies = number(g[1])
		p.stall = 0
	}
}

func named(comm, pid, mode string) *Named {
	n, err := strconv.ParseInt(pid, 10, 32)
	if err != nil {
		n = -1
	}
	return &Named{Comm: comm, PID: int32(n), Mode: mode}
}

// number reads a decimal number that a regular expression found; too large a one is
// the largest.
func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// maxCPUs is more processors than a kernel can have (NR_CPUS).
const maxCPUs = 8192

func cpus(s string) []int {
	n, err := strconv.Atoi(s)
	if err != nil || n >= maxCPUs {
		return nil
	}
	return []int{n}
}

func pids(s string) []int32 {
	n, err := strconv.ParseInt(reFirst.FindString(s), 10, 32)
	if err != nil {
		return nil
	}
	return []int32{int32(n)}
}

// ranges reads a list of processors such as "0,4-7".
func ranges(s string) []int {
	var list []int
	for _, part := range strings.Split(s, ",") {
		first, last, found := strings.Cut(part, "-")
		a, b := cpus(first), cpus(last)
		switch {
		case len(a) == 0:
		case !found || len(b) == 0:
			list = append(list, a...)
		default:
			for n := a[0]; n <= b[0]; n++ {
				list = append(list, n)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
