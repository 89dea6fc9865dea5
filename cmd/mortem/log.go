package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/info"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/printk"
)

// logFlags are the flags of log.
type logFlags struct {
	wall, decode, caller, dict bool
	levels                     []string
}

func (a *app) logCommand() *cobra.Command {
	var f logFlags
	c := &cobra.Command{
		Use:   "log [flags] DUMP...",
		Short: "Print the kernel log",
		Long: "log prints the kernel log as dmesg does. It needs no debug information where the dump has\n" +
			"VMCOREINFO, which says where the log is; in other dumps it is found by debug information,\n" +
			"given with --vmlinux or found on this machine. It reads the ring of bytes of kernels up to\n" +
			"3.4, the ring of records of 3.5 to 5.9, and the printk_ringbuffer since 5.10. What cannot be\n" +
			"read is marked in its place by a line that begins with **, and leads to exit status 4. Bytes that do not print\n" +
			"are shown as \\xNN, and a backslash as \\\\.\n\n" +
			"Wall-clock times (-T) are inferred, because a dump does not tell when its log began: from\n" +
			"CRASHTIME in VMCOREINFO and the last record, or from messages that name the time, or from\n" +
			"the dump's header. How, and how far they may be off, is said on the standard error output.",
		Example: "  mortem log vmcore\n" +
			"  mortem log --vmlinux vmlinux memory.lime\n" +
			"  mortem log -T --level err+ vmcore\n" +
			"  mortem log --json vmcore | jq -r '.messages[] | select(.caller == \"T1\").text'",
		Args: atLeast(1, "the dump"),
		RunE: func(_ *cobra.Command, args []string) error {
			keep, err := f.filter()
			if err != nil {
				return err
			}
			return a.withLog(args, func(facts *dump.Facts, log *printk.Log) error {
				if a.json {
					return a.logJSON(facts, log, info.LogOptions{Keep: keep, Wall: f.wall})
				}
				return a.logText(facts, log, keep, f)
			})
		},
	}
	a.kernelFlags(c.Flags())
	c.Flags().BoolVarP(&f.wall, "ctime", "T", false, "print inferred wall-clock times (UTC)")
	c.Flags().BoolVarP(&f.decode, "decode", "x", false, "print facility and level")
	c.Flags().BoolVar(&f.caller, "caller", false, "print who wrote each message: T and a thread, or C and a processor")
	c.Flags().BoolVar(&f.dict, "dict", false, "print what is known about the device of a message")
	c.Flags().StringSliceVar(&f.levels, "level", nil, "print these levels only: emerg, alert, crit, err, warn, notice, info, debug; err+ for err and graver")
	return c
}

// withLog opens the dump that the files make up, and its log, for as long as ask needs
// them.
func (a *app) withLog(files []string, ask func(facts *dump.Facts, log *printk.Log) error) error {
	img, err := a.image(a.ctx, files)
	if err != nil {
		return err
	}
	defer func() { _ = img.Close() }() // opened for reading only
	log, done, err := a.openLog(img)
	if err != nil {
		return err
	}
	defer done()
	return ask(img.Facts(), log)
}

// openLog finds the log by VMCOREINFO, and where that does not name it by debug
// information. Whoever gave debug information gets its errors.
func (a *app) openLog(img dump.Image) (log *printk.Log, done func(), err error) {
	m, err := kernel.OpenMemory(img)
	if err == nil {
		log, err = printk.Open(m)
	}
	if err == nil {
		return log, func() {}, nil
	}
	if !errors.Is(err, printk.ErrNoLog) && !errors.Is(err, kernel.ErrNoVMCoreInfo) {
		return nil, nil, unusable(err)
	}
	log, done, infoErr := a.logByDebugInfo(img)
	switch {
	case infoErr == nil:
		return log, done, nil
	case a.vmlinux != "":
		return nil, nil, unusable(infoErr)
	}
	return nil, nil, unusable(fmt.Errorf("%w; give the vmlinux of the dumped kernel with --vmlinux", err))
}

func (a *app) logByDebugInfo(img dump.Image) (*printk.Log, func(), error) {
	src, err := a.debugInfo(img)
	if err != nil {
		return nil, nil, err
	}
	k, err := kernel.Open(img, src, kernel.Options{Force: a.force})
	if err == nil {
		if k.Mismatch() != "" {
			a.warn("debug information of another build was forced: %s", k.Mismatch())
		}
		var log *printk.Log
		if log, err = printk.OpenKernel(k); err == nil {
			return log, func() { _ = src.Close() }, nil // opened for reading only
		}
	}
	_ = src.Close() // opened for reading only
	return nil, nil, err
}

// filter is the function that tells whether to print a record, nil for all.
func (f *logFlags) filter() (func(*printk.Record) bool, error) {
	if len(f.levels) == 0 {
		return nil, nil
	}
	names := printk.Levels()
	wanted := make([]bool, len(names))
	for _, word := range f.levels {
		name, graver := strings.CutSuffix(word, "+")
		level := slices.Index(names, name)
		if level < 0 {
			return nil, usage("--level: there is no level %q; the levels are %s", word, strings.Join(names, ", "))
		}
		wanted[level] = true
		for l := range level {
			wanted[l] = wanted[l] || graver
		}
	}
	return func(r *printk.Record) bool { return r.Level >= 0 && wanted[r.Level] }, nil
}

func (a *app) logJSON(facts *dump.Facts, log *printk.Log, opt info.LogOptions) error {
	r, clockErr := info.CollectLog(facts, log, opt)
	err := a.answer(r, &r.Coverage, nil)
	if clockErr != nil && err == nil {
		a.warn("%v", clockErr)
		return statusOnly(exitPartly)
	}
	return err
}

func (a *app) logText(facts *dump.Facts, log *printk.Log, keep func(*printk.Record) bool, f logFlags) error {
	w := logWriter{flags: f, keep: keep}
	partly := f.wall && !a.findClock(facts, log, &w)
	var cover kernel.Coverage
	err := a.answer(nil, &cover, func(p *printer) {
		w.printer = p
		for rec, err := range log.Records() {
			if err != nil {
				info.Lost(&cover, err)
				w.gap(err)
				continue
			}
			cover.Read++
			w.record(&rec)
		}
		w.end()
	})
	if partly && err == nil {
		return statusOnly(exitPartly)
	}
	return err
}

// findClock finds the clock for wall-clock times and says how good it is.
func (a *app) findClock(facts *dump.Facts, log *printk.Log, w *logWriter) bool {
	clocks, err := printk.Clocks(facts, log.Records())
	if err != nil {
		a.warn("%v; printing the times since boot", err)
		return false
	}
	w.clock = &clocks[0]
	a.warn("wall-clock times are inferred: boot at %s UTC is %s; true times are up to %s earlier or %s later, more after a suspend",
		w.clock.Boot.Format("2006-01-02 15:04:05.000"), w.clock.Why, w.clock.Early, w.clock.Late)
	return true
}

// logWriter prints records as dmesg does: the lines of a record behind the first
// one are indented to its text, and pieces of a line are put together.
type logWriter struct {
	*printer
	flags logFlags
	keep  func(*printk.Record) bool
	clock *printk.Clock
	open  bool // whether a line waits for its end, or for its next piece
	kept  bool // whether the record before was printed
}

func (w *logWriter) record(r *printk.Record) {
	if !r.Continues {
		w.kept = w.keep == nil || w.keep(r)
	}
	if !w.kept {
		return
	}
	indent := ""
	if !r.Continues || !w.open {
		w.end()
		prefix := w.prefix(r)
		w.text("%s", prefix)
		indent = strings.Repeat(" ", len(prefix))
	}
	first := true
	for line := range r.Lines() {
		if !first {
			w.text("\n%s", indent)
		}
		first = false
		w.text("%s", line)
	}
	w.open = true
	if w.flags.dict {
		for _, p := range r.Dict {
			w.text("\n%s%s", indent, p.Show())
		}
	}
}

// prefix is what stands before the text of a record.
func (w *logWriter) prefix(r *printk.Record) string {
	s := ""
	if w.flags.decode {
		s = fmt.Sprintf("%-6s:%-6s: ", r.Facility, r.Level)
	}
	stamp := ""
	switch {
	case r.Timed && w.clock != nil:
		stamp = "[" + w.clock.Time(r).Format("2006-01-02 15:04:05.000000") + "]"
	case r.Timed:
		stamp = logTime(r.Time)
	}
	if w.flags.caller && r.Caller.Known {
		stamp += fmt.Sprintf("[%6s]", r.Caller)
	}
	if stamp != "" {
		s += stamp + " "
	}
	return s
}

// gap marks a part of the log that cannot be had. Records that were giving way
// to newer ones are missed by nobody.
func (w *logWriter) gap(err error) {
	if errors.Is(err, printk.ErrOverwritten) {
		return
	}
	w.end()
	w.line("** %s **", cstr.Show([]byte(err.Error())))
}

// end ends the line at hand.
func (w *logWriter) end() {
	if w.open {
		w.line("")
	}
	w.open = false
}

func (w *logWriter) text(format string, args ...any) {
	_, _ = fmt.Fprintf(w.w, format, args...) // the printer's writer keeps the error
}

// logTime is a time since boot as the kernel prints it.
func logTime(d time.Duration) string {
	return fmt.Sprintf("[%5d.%06d]", d/time.Second, d%time.Second/time.Microsecond)
}

// showKeepTabs makes a line fit to be shown, with its tabs.
func showKeepTabs(line string) string {
	r := printk.Record{Text: []byte(line)}
	return r.Show()
}
