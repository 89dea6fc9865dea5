// Package printk answers what the kernel said last: it reads the kernel log out
// of a dump. It needs no debug information where there is VMCOREINFO, which names
// the variables and structures that the log is kept in.
package printk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/kmortem/mortem/kernel"
)

// Form is how a kernel keeps its log.
type Form string

// The forms that there have been (Linux kernel/printk.c, kernel/printk/).
const (
	FormBytes   Form = "byte ring"         // lines of text, up to 3.4
	FormRecords Form = "record ring"       // struct log, later struct printk_log, 3.5 to 5.9
	FormRing    Form = "printk_ringbuffer" // descriptors apart from text, since 5.10
)

// Log is the kernel log of a dump. It is safe for use by many goroutines.
type Log struct {
	form    Form
	size    uint64
	wrapped func() bool
	records func(yield func(Record, error) bool)
}

// Open finds the kernel log by what VMCOREINFO says. Its errors wrap ErrNoLog
// where VMCOREINFO is missing or does not name the log, ErrDamaged where the
// variables that it names contradict themselves, and else those of reading
// kernel memory.
func Open(m *kernel.Memory) (*Log, error) {
	info := m.Image().Facts().VMCoreInfo
	if info == nil {
		return nil, fmt.Errorf("%w: the dump has no VMCOREINFO, which names the log's variables", ErrNoLog)
	}
	return openIn(m, fromVMCoreInfo{info})
}

// OpenKernel is Open where debug information is at hand: it finds the log by that
// where VMCOREINFO is missing or does not name it. Errors are those of Open.
func OpenKernel(k *kernel.Kernel) (*Log, error) {
	log, err := Open(k.Memory)
	if errors.Is(err, ErrNoLog) {
		return openIn(k.Memory, fromKernel{k})
	}
	return log, err
}

// openIn finds the log in memory by what names it.
func openIn(m *kernel.Memory, by names) (*Log, error) {
	order := m.Image().Facts().ByteOrder
	if order == nil {
		order = binary.LittleEndian // as all kernels whose memory can be opened
	}
	return open(source{mem: m, names: by, order: order, page: m.PageSize(), held: held(m.Image().Ranges())})
}

// open tells the forms apart by the variables that there are.
func open(s source) (*Log, error) {
	has := func(name string) bool {
		_, ok := s.names.Symbol(name)
		return ok
	}
	switch {
	case has("prb"):
		return openRing(s)
	case has("log_first_idx"):
		return openRecords(s)
	case has("log_end"):
		return openBytes(s)
	}
	return nil, fmt.Errorf("%w: %s has neither SYMBOL(prb) nor SYMBOL(log_first_idx) nor SYMBOL(log_end)", ErrNoLog, s.names.whose())
}

// Form is how the log is kept.
func (l *Log) Form() Form { return l.form }

// Size is how many bytes the log has for its text.
func (l *Log) Size() uint64 { return l.size }

// Numbered tells whether Record.Seq is the number that the kernel gave to the
// record. Logs before 5.10 do not keep it beside the records; theirs are
// counted from the oldest record in the dump, which is 0.
func (l *Log) Numbered() bool { return l.form == FormRing }

// Wrapped tells whether older records are known to have been overwritten by
// newer ones, so that the log does not begin with the kernel's first words.
func (l *Log) Wrapped() bool { return l.wrapped() }

// Records yields the records, oldest first. Where a part of the log cannot be
// had it yields a *LostError in its place and goes on behind it; the Record is
// zero then. A record's slices are its own and stay valid.
func (l *Log) Records() iter.Seq2[Record, error] { return l.records }

// longestLog is the largest log that the kernel accepts: log_buf_len is at most
// 2 GiB (LOG_BUF_LEN_MAX).
const longestLog = 1 << 31

// checkSize refuses rings that are larger than a kernel makes them, or larger
// than all memory in the dump: their sizes are damaged, and walking them would
// take forever.
func (s *source) checkSize(what string, n uint64) error {
	if n == 0 || n > longestLog || n > s.held {
		return fmt.Errorf("%w: its %s has %d bytes", ErrDamaged, what, n)
	}
	return nil
}

// parts is the iteration of a log that yields one part after the other, which
// lets an iterator stop from within nested functions.
type parts struct {
	yield   func(Record, error) bool
	stopped bool
}

func (p *parts) record(r Record) bool {
	p.stopped = p.stopped || !p.yield(r, nil)
	return !p.stopped
}

func (p *parts) lost(e *LostError) bool {
	p.stopped = p.stopped || !p.yield(Record{}, e)
	return !p.stopped
}

// Levels are the names of the levels, the gravest first: their places are their
// numbers (include/linux/kern_levels.h, and dmesg(1) for the words).
func Levels() []string { return slices.Clone(levelNames) }
