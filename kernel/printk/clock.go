package printk

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"time"

	"github.com/kmortem/mortem/dump"
)

// ErrNoClock: nothing in the dump ties the times of the log to a calendar.
var ErrNoClock = errors.New("no wall-clock time for the kernel log")

// Clock is an inference of the wall-clock time at which the log's time was 0,
// shortly after boot. The log counts by local_clock(), which stands still while
// the machine is suspended and drifts against a clock that NTP keeps right, so
// that the clock is best near what it was inferred from.
type Clock struct {
	Boot   time.Time // UTC
	Method Method
	// The true time of a record lies between Early before and Late behind
	// what Time says, as far as what Why says is so.
	Early, Late time.Duration
	Why         string // one sentence: what was inferred from what
}

// Method is where a Clock comes from.
type Method string

// The methods, best first.
const (
	// MethodCrashTime: CRASHTIME in VMCOREINFO is the time of the crash in
	// whole seconds, and the last record was written right before it.
	MethodCrashTime Method = "CRASHTIME"
	// MethodAudit: a message of the audit subsystem says the wall-clock time
	// of its event, and the log when it was printed.
	MethodAudit Method = "audit message"
	// MethodRTC: the kernel said at boot what time it took from the
	// real-time clock; NTP may have changed that since.
	MethodRTC Method = "real-time clock message"
	// MethodHeader: the dump's header says when somebody began to write the
	// dump, which is some time after the crash.
	MethodHeader Method = "dump header"
)

// Time is the wall-clock time of a record.
func (c *Clock) Time(r *Record) time.Time { return c.Boot.Add(r.Time) }

// Clocks infers the wall-clock time in every way that a dump and its log allow,
// the best first. The error is ErrNoClock where there is none.
func Clocks(facts *dump.Facts, records iter.Seq2[Record, error]) ([]Clock, error) {
	var last *time.Duration
	var audit, rtc *Clock
	for r, err := range records {
		if err != nil || !r.Timed {
			continue
		}
		if last == nil {
			last = new(time.Duration)
		}
		*last = r.Time
		if r.Facility > FacilityKern {
			continue // a program may say what it likes
		}
		if c := auditClock(&r); c != nil {
			audit = c
		}
		if c := rtcClock(&r); c != nil {
			rtc = c
		}
	}
	var clocks []Clock
	for _, c := range []*Clock{crashClock(facts, last), audit, rtc, headerClock(facts, last)} {
		if c != nil {
			clocks = append(clocks, *c)
		}
	}
	if len(clocks) == 0 {
		return nil, fmt.Errorf("%w: VMCOREINFO has no CRASHTIME, the header no time, and no message names one", ErrNoClock)
	}
	return clocks, nil
}

func crashClock(facts *dump.Facts, last *time.Duration) *Clock {
	text, ok := facts.VMCoreInfo.Get("CRASHTIME")
	crash, valid := unixTime(text, "")
	if !ok || !valid || last == nil {
		return nil
	}
	return &Clock{Boot: crash.Add(-*last), Method: MethodCrashTime, Late: time.Second,
		Why: fmt.Sprintf("CRASHTIME of VMCOREINFO (%s) less the time of the last record (%s), taken for the time of the crash",
			crash.Format(time.DateTime), *last)}
}

// headerClock: the record before the crash is older than the header by the time
// that the second kernel took to boot and makedumpfile to start.
func headerClock(facts *dump.Facts, last *time.Duration) *Clock {
	_, crash := facts.VMCoreInfo.Get("CRASHTIME")
	if crash || facts.Time.IsZero() || last == nil {
		return nil
	}
	const start = 10 * time.Minute
	return &Clock{Boot: facts.Time.Add(-*last).UTC(), Method: MethodHeader, Early: start,
		Why: fmt.Sprintf("the time of the dump's header (%s), when the dump was begun, less the time of the last record (%s)",
			facts.Time.UTC().Format(time.DateTime), *last)}
}

var (
	auditTime = regexp.MustCompile(`\baudit\((\d{9,11})\.(\d{3}):\d+\)`)
	rtcTime   = regexp.MustCompile(`setting system clock to .*\((\d{9,11})\)$`)
)

// auditClock: an event is printed when it is over, mostly within the same
// millisecond, and later when the log is busy.
func auditClock(r *Record) *Clock {
	if !bytes.Contains(r.Text, []byte("audit(")) {
		return nil
	}
	m := auditTime.FindSubmatch(r.Text)
	if m == nil {
		return nil
	}
	event, ok := unixTime(string(m[1]), string(m[2]))
	if !ok {
		return nil
	}
	return &Clock{Boot: event.Add(-r.Time), Method: MethodAudit, Early: time.Millisecond, Late: time.Second,
		Why: fmt.Sprintf("an audit message that names the time %s, written at %s", event.Format(time.DateTime), r.Time)}
}

func rtcClock(r *Record) *Clock {
	if !bytes.Contains(r.Text, []byte("setting system clock to")) {
		return nil
	}
	m := rtcTime.FindSubmatch(bytes.TrimRight(r.Text, " "))
	if m == nil {
		return nil
	}
	read, ok := unixTime(string(m[1]), "")
	if !ok {
		return nil
	}
	return &Clock{Boot: read.Add(-r.Time), Method: MethodRTC, Early: time.Second, Late: time.Second,
		Why: fmt.Sprintf("the message at %s that the system clock was set to %s", r.Time, read.Format(time.DateTime))}
}

// unixTime reads seconds and milliseconds since 1970.
func unixTime(sec, milli string) (time.Time, bool) {
	s, err := strconv.ParseInt(sec, 10, 64)
	const year3000 = 32503680000
	if err != nil || s <= 0 || s >= year3000 {
		return time.Time{}, false
	}
	ms := int64(0)
	if milli != "" {
		if ms, err = strconv.ParseInt(milli, 10, 64); err != nil {
			return time.Time{}, false
		}
	}
	return time.UnixMilli(s*1000 + ms).UTC(), true
}
