package info

import (
	"bytes"
	"errors"
	"regexp"
	"time"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/printk"
)

// readLog goes through the log once and keeps what it says about the end.
func (r *Report) readLog(f *dump.Facts, log *printk.Log) {
	r.Log = &Log{Form: string(log.Form()), Bytes: log.Size(), Numbered: log.Numbered(), Wrapped: log.Wrapped()}
	t := troubles{last: make([]*Line, len(rules))}
	clocks, clockErr := printk.Clocks(f, func(yield func(printk.Record, error) bool) {
		for rec, err := range log.Records() {
			if err != nil {
				r.Log.Gaps++
				Lost(&r.Coverage, err)
			} else {
				r.Log.Records++
				r.record(&rec, &t)
			}
			if !yield(rec, err) {
				return
			}
		}
	})
	r.Coverage.Read += r.Log.Records
	r.Crash.Panic = t.end()
	r.Crash.Cause = t.cause(r.Crash.Panic)
	if clockErr == nil {
		r.Crash.Boot = bootOf(&clocks[0])
	}
}

func (r *Report) record(rec *printk.Record, t *troubles) {
	t.look(rec)
	if rec.Timed {
		ns := int64(rec.Time)
		r.Crash.Uptime = &ns
	}
	if r.Kernel.CommandLine == "" {
		if m := commandLine.FindSubmatch(rec.Text); m != nil && rec.Facility <= printk.FacilityKern {
			r.Kernel.CommandLine = cstr.Show(bytes.TrimSpace(m[1]))
		}
	}
}

var commandLine = regexp.MustCompile(`^(?:Kernel c|C)ommand line: (.*)`)

func bootOf(c *printk.Clock) *Boot {
	return &Boot{Time: c.Boot, Early: int64(c.Early), Late: int64(c.Late), Method: string(c.Method), Why: c.Why}
}

// Lost counts a part of the log that cannot be had, unless the kernel itself
// had not got it.
func Lost(cover *kernel.Coverage, err error) {
	var lost *printk.LostError
	if errors.As(err, &lost) && lost.ByKernel() {
		return
	}
	cover.Fail(err)
}

// LogReport is the kernel log as a whole.
type LogReport struct {
	Log
	// Clocks are the ways to tell the wall-clock time, the best first;
	// Record.Wall is by that one.
	Clocks   []Boot          `json:"clocks"`
	Messages []Message       `json:"messages"` // the oldest first
	Missing  []Gap           `json:"missing"`  // what cannot be had
	Coverage kernel.Coverage `json:"coverage"` // of records, as far as these can be counted
}

// Message is one record of the log.
type Message struct {
	Seq      uint64            `json:"seq"`
	Time     *int64            `json:"time_ns"`             // since boot; null where the log has no times
	Wall     *time.Time        `json:"wall_time,omitempty"` // inferred, where asked for
	Level    string            `json:"level,omitempty"`
	Facility string            `json:"facility,omitempty"`
	Caller   string            `json:"caller,omitempty"` // T and a thread id, or C and a processor
	Text     string            `json:"text"`
	Dict     map[string]string `json:"dict,omitempty"`
	// Continues: the text goes on in the line of the message before it.
	Continues bool `json:"continues,omitempty"`
	Cut       bool `json:"cut,omitempty"` // its beginning is lost
}

// Gap is a part of the log that cannot be had.
type Gap struct {
	From     *uint64     `json:"from_seq"` // null where the numbers are not known
	To       *uint64     `json:"to_seq"`
	After    *uint64     `json:"after_seq"` // the message before it; null at the start
	Records  uint64      `json:"records,omitempty"`
	Bytes    uint64      `json:"bytes,omitempty"`
	Addr     kernel.Addr `json:"addr"`      // virtual
	ByKernel bool        `json:"by_kernel"` // the kernel had not got it itself
	Why      string      `json:"why"`
}

// LogOptions choose what a LogReport holds.
type LogOptions struct {
	Keep func(*printk.Record) bool // which messages; nil for all
	Wall bool                      // with wall-clock times
}

// CollectLog reads a log as a whole. The error is printk.ErrNoClock where
// wall-clock times were asked for and cannot be inferred; the report is valid
// then, without them.
func CollectLog(f *dump.Facts, log *printk.Log, opt LogOptions) (*LogReport, error) {
	r := &LogReport{
		Log:      Log{Form: string(log.Form()), Bytes: log.Size(), Numbered: log.Numbered(), Wrapped: log.Wrapped()},
		Clocks:   []Boot{},
		Messages: []Message{},
		Missing:  []Gap{},
	}
	clocks, clockErr := printk.Clocks(f, log.Records())
	for i := range clocks {
		r.Clocks = append(r.Clocks, *bootOf(&clocks[i]))
	}
	var last *uint64
	for rec, err := range log.Records() {
		if err != nil {
			r.miss(err, last)
			continue
		}
		r.Records++
		seq := rec.Seq
		last = &seq
		if opt.Keep != nil && !opt.Keep(&rec) {
			continue
		}
		m := messageOf(&rec)
		if opt.Wall && clockErr == nil && rec.Timed {
			at := clocks[0].Time(&rec)
			m.Wall = &at
		}
		r.Messages = append(r.Messages, m)
	}
	r.Coverage.Read = r.Records
	if !opt.Wall {
		clockErr = nil
	}
	return r, clockErr
}

func (r *LogReport) miss(err error, last *uint64) {
	r.Gaps++
	Lost(&r.Coverage, err)
	g := Gap{After: last, Why: err.Error()}
	var lost *printk.LostError
	if errors.As(err, &lost) {
		g.Records, g.Bytes, g.Addr, g.ByKernel, g.Why = lost.Records, lost.Bytes, kernel.Addr(lost.Addr), lost.ByKernel(), lost.Err.Error()
		if lost.Numbered {
			g.From, g.To = &lost.From, &lost.To
		}
	}
	r.Missing = append(r.Missing, g)
}

func messageOf(rec *printk.Record) Message {
	m := Message{Seq: rec.Seq, Level: rec.Level.String(), Facility: rec.Facility.String(), Caller: rec.Caller.String(),
		Text: rec.Show(), Continues: rec.Continues, Cut: rec.Cut}
	if rec.Timed {
		ns := int64(rec.Time)
		m.Time = &ns
	}
	if len(rec.Dict) > 0 {
		m.Dict = make(map[string]string, len(rec.Dict))
		for _, p := range rec.Dict {
			m.Dict[cstr.Show([]byte(p.Key))] = cstr.Show(p.Value)
		}
	}
	return m
}
