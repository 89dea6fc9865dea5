package printk

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/kmortem/mortem/kernel/cstr"
)

// Record is one message of the kernel log.
type Record struct {
	// Seq numbers the records without gaps; see Log.Numbered.
	Seq uint64
	// Time is when it was written, by local_clock(): since boot, without
	// the time that the machine was suspended. Timed says whether the log
	// has it.
	Time  time.Duration
	Timed bool

	Level    Level
	Facility Facility
	Flags    Flags
	Caller   Caller

	Text []byte // as it was written, without the newline at its end; may hold others
	Dict []Pair // what is known about its device, in the log's order

	// Continues: the text goes on in the line of the record before it.
	Continues bool
	// Cut: the beginning of the text is lost.
	Cut bool
}

// Pair is an entry of a record's dictionary, such as SUBSYSTEM=pci or
// DEVICE=+pci:0000:00:1f.2.
type Pair struct {
	Key   string
	Value []byte
}

// Level is the gravity of a message, 0 to 7, or LevelUnknown.
type Level int8

// The levels of syslog(3).
const (
	LevelUnknown Level = iota - 1
	LevelEmerg
	LevelAlert
	LevelCrit
	LevelErr
	LevelWarn
	LevelNotice
	LevelInfo
	LevelDebug
)

var levelNames = []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"}

// String is the level's name as dmesg(1) has it, and empty where it is unknown.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return ""
	}
	return levelNames[l]
}

// Facility is who wrote a message: 0 is the kernel, others are programs that
// wrote to /dev/kmsg.
type Facility int16

// Facilities of syslog(3).
const (
	FacilityUnknown Facility = -1
	FacilityKern    Facility = 0
)

var facilityNames = []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news",
	"uucp", "cron", "authpriv", "ftp", "12", "13", "14", "15",
	"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}

// String is the facility's name as dmesg(1) has it, and empty where it is
// unknown.
func (f Facility) String() string {
	switch {
	case f < 0:
		return ""
	case int(f) < len(facilityNames):
		return facilityNames[f]
	}
	return fmt.Sprint(int(f))
}

// Flags are those of the kernel (enum log_flags in kernel/printk/printk.c, enum
// printk_info_flags in kernel/printk/internal.h since 5.11).
type Flags uint8

// The flags that matter to a reader.
const (
	FlagNewline Flags = 2 // the text ended with a newline
	FlagPrefix  Flags = 4 // the text began with a level; up to 5.9
	FlagCont    Flags = 8 // a piece of a line, or a line made of pieces
)

// Caller is who called printk: a task, or a processor that was not in the
// context of one.
type Caller struct {
	ID    uint32 // thread id of the task, or number of the processor
	CPU   bool   // whether ID is that of a processor
	Known bool
}

// callerCPU marks a processor in caller_id (printk_caller_id in
// kernel/printk/printk.c, since 5.1).
const callerCPU = 1 << 31

func callerOf(id uint32) Caller {
	return Caller{ID: id &^ callerCPU, CPU: id&callerCPU != 0, Known: true}
}

// String is the caller as the kernel prints it, "T123" or "C4", and empty where
// it is unknown.
func (c Caller) String() string {
	switch {
	case !c.Known:
		return ""
	case c.CPU:
		return fmt.Sprint("C", c.ID)
	}
	return fmt.Sprint("T", c.ID)
}

// Lines yields the text line by line in a form that is fit to be shown: as
// cstr.Show gives it, with tabs left as they are. A text without a byte is one
// empty line.
func (r *Record) Lines() iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range bytes.SplitSeq(r.Text, []byte{'\n'}) {
			if !yield(showLine(line)) {
				return
			}
		}
	}
}

// Show is the whole text in the form of Lines.
func (r *Record) Show() string {
	var s strings.Builder
	first := true
	for line := range r.Lines() {
		if !first {
			s.WriteByte('\n')
		}
		first = false
		s.WriteString(line)
	}
	return s.String()
}

func showLine(line []byte) string {
	if bytes.IndexByte(line, '\t') < 0 {
		return cstr.Show(line)
	}
	var s strings.Builder
	for i, part := range bytes.Split(line, []byte{'\t'}) {
		if i > 0 {
			s.WriteByte('\t')
		}
		s.WriteString(cstr.Show(part))
	}
	return s.String()
}

// Show is the entry as KEY=value, in a form that is fit to be shown.
func (p Pair) Show() string { return cstr.Show([]byte(p.Key)) + "=" + cstr.Show(p.Value) }
