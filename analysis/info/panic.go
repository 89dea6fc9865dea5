package info

import (
	"regexp"
	"strings"
	"time"

	"github.com/kmortem/mortem/kernel/printk"
)

// rules say which lines of the log speak of the kernel's end, or of its trouble,
// by how much they say: the line that ends a dump's story is the last one of the
// first rule that matches any. The words are those of kernels from 2.6.32 on.
var rules = []struct {
	name  string
	fatal bool // whether the kernel ends with such a line
	match *regexp.Regexp
}{
	{"panic", true, regexp.MustCompile(`Kernel panic - not syncing|Kernel panic: `)},
	{sysrqRule, true, regexp.MustCompile(`(?i)sysrq ?: (?:sysrq ?: )?Trigger a crash`)},
	{"oops", false, regexp.MustCompile(`BUG: unable to handle|BUG: kernel NULL pointer|[Kk]ernel BUG at|Unable to handle kernel|Oops: |Internal error: |` +
		`general protection fault[:,]|double fault: |invalid opcode: |divide error: |stack segment: |Machine check exception`)},
	{"hard lockup", false, regexp.MustCompile(`hard LOCKUP`)},
	{"soft lockup", false, regexp.MustCompile(`BUG: soft lockup`)},
	{"hung task", false, regexp.MustCompile(`INFO: task .* blocked for more than`)},
	{"RCU stall", false, regexp.MustCompile(`detected stalls? on CPUs/tasks|self-detected stall|rcu.* kthread starved`)},
	{"out of memory", false, regexp.MustCompile(`Out of memory: Kill`)},
	{"BUG", false, regexp.MustCompile(`\bBUG: `)},
}

const sysrqRule = "sysrq crash"

// hint is in each line that a rule can match.
var hint = regexp.MustCompile(`panic|BUG|[Ss]ys[Rr]q|Oops|[Ee]rror|fault|handle|opcode|segment|exception|LOCKUP|INFO|stall|starved|memory`)

// troubles collects the last line of each rule.
type troubles struct {
	last []*Line // by rule
	all  []*Line // the last ones of any rule, a few
}

// keepTroubles bounds how many lines are remembered to find what came before a
// panic.
const keepTroubles = 64

func (t *troubles) look(r *printk.Record) {
	// What programs write to the log is not the kernel's word.
	if r.Facility > printk.FacilityKern || !hint.Match(r.Text) {
		return
	}
	for text := range r.Lines() {
		if strings.HasPrefix(text, "---[ end") {
			continue // says the same once more
		}
		for i := range rules {
			if !rules[i].match.MatchString(text) {
				continue
			}
			line := lineOf(r, text)
			line.Rule, line.Fatal = rules[i].name, rules[i].fatal
			t.last[i] = line
			if len(t.all) == keepTroubles {
				t.all = append(t.all[:0], t.all[1:]...)
			}
			t.all = append(t.all, line)
			break
		}
	}
}

func lineOf(r *printk.Record, text string) *Line {
	line := &Line{Seq: r.Seq, Text: strings.TrimSpace(text)}
	if r.Timed {
		ns := int64(r.Time)
		line.Time = &ns
	}
	return line
}

// end is the line that says why the kernel ended, or else its last trouble.
func (t *troubles) end() *Line {
	for _, line := range t.last {
		if line != nil {
			return line
		}
	}
	return nil
}

// causeSpan is how long before a panic its cause is looked for: what is older
// is another story.
const causeSpan = int64(time.Minute)

// cause is the trouble that led to the end: a crash by sysrq, or else the first
// of the last ones of their kind before it, for an oops prints several lines, and
// the first one says most.
func (t *troubles) cause(end *Line) *Line {
	if end == nil || !end.Fatal {
		return nil
	}
	var cause *Line
	for i := len(t.all) - 1; i >= 0; i-- {
		line := t.all[i]
		switch {
		case line == end || line.Seq > end.Seq:
			continue
		case line.Rule == end.Rule, line.Time != nil && end.Time != nil && *end.Time-*line.Time > causeSpan:
			return cause // another panic, or another story
		case line.Rule == sysrqRule:
			return line
		case cause == nil || line.Rule == cause.Rule:
			cause = line
		}
	}
	return cause
}
