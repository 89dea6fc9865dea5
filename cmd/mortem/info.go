package main

import (
	"fmt"
	"math/bits"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/info"
	"github.com/kmortem/mortem/dump"
)

func (a *app) infoCommand() *cobra.Command {
	var registers, vmcoreinfo, verify, noPages bool
	c := &cobra.Command{
		Use:   "info [flags] DUMP...",
		Short: "Tell what a dump is, of which machine, how that ended, and whether it is whole",
		Long: "info needs no debug information. It tells the dump's format, codecs and completeness, the\n" +
			"machine and its kernel, when and by what line of the log it ended, the processors'\n" +
			"registers, and which pages are in the dump, were excluded from it, are missing or damaged.\n" +
			"Missing and damaged pages are those that headers and page descriptors show; --verify reads\n" +
			"every page. It exits with status 4 where the dump is not whole.",
		Example: "  mortem info vmcore\n" +
			"  mortem info --verify vmcore\n" +
			"  mortem info --json vmcore | jq .crash.panic.text",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			img, err := a.image(c.Context(), args)
			if err != nil {
				return err
			}
			defer func() { _ = img.Close() }() // opened for reading only
			if vmcoreinfo && !a.json {
				return a.printVMCoreInfo(img)
			}
			_, _, remote := dump.Moved(img)
			opt := info.Options{SkipPages: noPages || remote && img.Facts().Format == dump.FormatKdump}
			if verify {
				opt.Verify = runtime.GOMAXPROCS(0)
			}
			p := a.progress("reading every page")
			opt.Progress = func(done, total uint64) { p.update(int(done), int(total)) }
			r, err := info.Analyze(c.Context(), img, opt)
			p.done()
			if err != nil {
				return unusable(err)
			}
			if err := a.print(r, func(w *printer) { printInfo(w, r, registers) }); err != nil {
				return err
			}
			if r.Partly() {
				return statusOnly(exitPartly)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&registers, "registers", false, "list all registers of all processors")
	c.Flags().BoolVar(&vmcoreinfo, "vmcoreinfo", false, "print the text of VMCOREINFO and nothing else")
	c.Flags().BoolVar(&verify, "verify", false, "read every page, and list those that cannot be read")
	c.Flags().BoolVar(&noPages, "no-pages", false, "do not count the pages, which needs 24 bytes read for each; of a remote dump they are counted with --verify only")
	return c
}

// printVMCoreInfo prints the text as it is, for other programs, unless it is no
// text.
func (a *app) printVMCoreInfo(img dump.Image) error {
	v := img.Facts().VMCoreInfo
	if v == nil {
		return unusable(fmt.Errorf("%s has no VMCOREINFO", strings.Join(img.Facts().Files, ", ")))
	}
	return a.print(nil, func(w *printer) {
		for line := range strings.Lines(v.Raw) {
			w.line("%s", showKeepTabs(strings.TrimSuffix(line, "\n")))
		}
	})
}

func printInfo(w *printer, r *info.Report, registers bool) {
	w.table(func(w *printer) {
		printFile(w, r)
		printMachine(w, r)
		printCrash(w, r)
		printMemory(w, r)
		if r.Pages == nil && r.Moved != nil {
			w.line("pages\tnot counted, which would move 24 bytes for each; --verify does it")
		}
		printPages(w, r.Pages)
		if v := r.VMCoreInfo; v != nil {
			w.line("VMCOREINFO\t%d keys (--vmcoreinfo prints them)", v.Keys)
		} else {
			w.line("VMCOREINFO\tnone in the dump")
		}
		if m := r.Moved; m != nil {
			w.line("moved\t%s over the network (requests: %d)", byteSize(uint64(m.Bytes)), m.Requests)
		}
	})
	printCPUs(w, r, registers)
	printBad(w, r)
	for _, text := range r.Warnings {
		w.line("warning: %s", text)
	}
	for _, text := range r.Coverage.Problems {
		w.line("problem: %s", text)
	}
}

func printFile(w *printer, r *info.Report) {
	w.line("file\t%s", strings.Join(r.Files, ", "))
	w.line("format\t%s", strings.Join(append([]string{r.Format}, r.Variant...), ", "))
	whole := "yes"
	switch p := r.Pages; {
	case !r.Complete:
		whole = "no"
	case p != nil && p.Missing+p.Damaged > 0:
		whole = "no: pages are missing or damaged"
	case p != nil && p.Verified:
		whole = "yes, every page was read"
	case p != nil && p.Codecs != nil:
		whole = "yes, by its headers and page descriptors (--verify reads every page)"
	case p == nil:
		whole = "yes, by its headers (--verify reads every page)"
	}
	w.line("complete\t%s", whole)
}

func printMachine(w *printer, r *info.Report) {
	w.line("architecture\t%s, %d bits, %s, pages of %d bytes", orUnknown(r.Arch), r.Bits, r.ByteOrder, r.PageSize)
	k := &r.Kernel
	w.line("kernel\t%s", orUnknown(strings.TrimSpace(k.Release+" "+k.Version)))
	w.line("build id\t%s", orUnknown(k.BuildID))
	host := k.Hostname
	if k.Domainname != "" {
		host += " (domain " + k.Domainname + ")"
	}
	w.line("host\t%s", orUnknown(host))
	if k.CommandLine != "" {
		w.line("command line\t%s", k.CommandLine)
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

func printCrash(w *printer, r *info.Report) {
	c := &r.Crash
	switch {
	case c.Time == nil:
		w.line("time\tnot known")
	case c.TimeFrom == "CRASHTIME":
		w.line("time\t%s UTC, of the crash (CRASHTIME)", c.Time.Format(time.DateTime))
	default:
		w.line("time\t%s UTC, when the dump was begun (header)", c.Time.Format(time.DateTime))
	}
	if c.Boot != nil {
		w.line("started\t%s UTC, inferred by %s", c.Boot.Time.Round(time.Second).Format(time.DateTime), c.Boot.Method)
	}
	if c.Uptime != nil {
		w.line("uptime\tat least %s, the time of the last record of the log", uptime(*c.Uptime))
	}
	switch p := c.Panic; {
	case r.Log == nil:
		w.line("panic\tnot known: %s", r.LogError)
	case p == nil && r.Log.Gaps > 0:
		w.line("panic\tnot known: no line of the log that can be read speaks of one")
	case p == nil:
		w.line("panic\tno line of the log speaks of one")
	case p.Fatal:
		w.line("panic\t%s%s (rule: %s)", lineTime(p), p.Text, p.Rule)
	default:
		w.line("panic\tno line of the log speaks of one; last trouble: %s%s (rule: %s)", lineTime(p), p.Text, p.Rule)
	}
	if c.Cause != nil {
		w.line("before it\t%s%s (rule: %s)", lineTime(c.Cause), c.Cause.Text, c.Cause.Rule)
	}
	if l := r.Log; l != nil {
		w.line("log\t%s of %s, %d records%s", l.Form, byteSize(l.Bytes), l.Records, logNotes(l))
	}
}

func logNotes(l *info.Log) string {
	s := ""
	if l.Wrapped {
		s += ", older ones overwritten"
	}
	if l.Gaps > 0 {
		s += fmt.Sprintf(", gaps: %d", l.Gaps)
	}
	return s
}

func lineTime(l *info.Line) string {
	if l.Time == nil {
		return ""
	}
	return logTime(time.Duration(*l.Time)) + " "
}

// uptime shows a time since boot by the second.
func uptime(ns int64) string {
	d := time.Duration(ns).Truncate(time.Second)
	if days := d / (24 * time.Hour); days > 0 {
		return fmt.Sprintf("%dd%s", days, d%(24*time.Hour))
	}
	return d.String()
}

func printMemory(w *printer, r *info.Report) {
	m := &r.Memory
	w.line("memory\t%s in the dump (ranges: %d); all below %s", byteSize(m.Present), m.Ranges, m.MaxPhys)
	// makedumpfile keeps one page of zeros, to which the descriptors of all others point.
	kinds := strings.Replace(strings.Join(m.Filtered, ", "), "zero pages", "zero pages (one is kept for all)", 1)
	switch {
	case m.DumpLevel == nil:
		w.line("dump level\tnot told by this format")
	case kinds == "":
		w.line("dump level\t%d: nothing filtered out", *m.DumpLevel)
	case r.Pages != nil && r.Pages.Excluded == 0:
		// QEMU writes level 1, and all pages.
		w.line("dump level\t%d: would filter out %s, but no page is excluded", *m.DumpLevel, kinds)
	default:
		w.line("dump level\t%d: filtered out are %s", *m.DumpLevel, kinds)
	}
}

func printPages(w *printer, p *info.Pages) {
	if p == nil {
		return
	}
	w.line("pages\tpresent %d, excluded %d, missing %d, damaged %d", p.Present, p.Excluded, p.Missing, p.Damaged)
	if p.Codecs == nil {
		return
	}
	var parts []string
	for _, c := range dump.Codecs {
		if n := p.Codecs[c.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c, n))
		}
	}
	w.line("codecs\t%s; %s packed; %d share a page of zeros", strings.Join(parts, ", "), byteSize(p.Packed), p.Zero)
}

// names of the registers that the table of processors shows, by what they are
// called on one architecture or another.
var (
	ipNames = []string{"ip", "pc", "nip", "psw_addr", "epc"}
	spNames = []string{"sp", "gpr1", "r1"}
)

func printCPUs(w *printer, r *info.Report, registers bool) {
	w.line("")
	if len(r.CPUs) == 0 {
		w.line("no registers of processors in the dump")
		return
	}
	w.table(func(w *printer) {
		w.line("CPU\tPID\tMODE\tIP\tSP\tCR3\tNOTE")
		for i := range r.CPUs {
			c := &r.CPUs[i]
			pid := "-"
			if c.PID != 0 {
				pid = fmt.Sprint(c.PID)
			}
			w.line("%d\t%s\t%s\t%s\t%s\t%s\t%s", c.Index, pid, dash(c.Mode),
				register(c, ipNames...), register(c, spNames...), register(c, "cr3"), c.Source)
		}
	})
	if !registers {
		return
	}
	for i := range r.CPUs {
		c := &r.CPUs[i]
		w.line("")
		w.line("CPU %d", c.Index)
		w.table(func(w *printer) {
			const columns = 4
			for line := range slices.Chunk(c.Registers, columns) {
				cells := make([]string, 0, columns)
				for _, reg := range line {
					cells = append(cells, fmt.Sprintf("%s\t0x%x", reg.Name, uint64(reg.Value)))
				}
				w.line("  %s", strings.Join(cells, "\t"))
			}
		})
	}
}

func register(c *info.CPU, names ...string) string {
	for _, name := range names {
		if v, ok := c.Register(name); ok {
			return v.String()
		}
	}
	return "-"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func printBad(w *printer, r *info.Report) {
	if r.Pages == nil || len(r.Pages.Bad) == 0 {
		return
	}
	w.line("")
	w.table(func(w *printer) {
		w.line("BAD PAGE\tKIND\tOFFSET\tFILE\tWHY")
		for _, b := range r.Pages.Bad {
			offset := "-"
			if b.Offset >= 0 {
				offset = fmt.Sprintf("0x%x", b.Offset)
			}
			w.line("%s\t%s\t%s\t%s\t%s", b.Addr, b.Kind, offset, dash(b.File), b.Why)
		}
	})
	if n := r.Pages.MoreBad; n > 0 {
		w.line("… and %d more", n)
	}
}

// byteSize shows a number of bytes in the largest unit that leaves no more
// than four digits before the point.
func byteSize(n uint64) string {
	const units = "KMGTPE"
	step := (bits.Len64(n) - 1) / 10
	if step <= 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(uint64(1)<<(10*step)), units[step-1])
}
