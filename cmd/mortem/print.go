package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel"
)

// answer prints a result, as JSON or by the function that writes it as text,
// and leads to the exit status that the result's coverage demands.
func (a *app) answer(result any, cover *kernel.Coverage, text func(w *printer)) error {
	if err := a.print(result, text); err != nil {
		return err
	}
	if cover.Complete() {
		return nil
	}
	if !a.json && cover.Unread() > 0 {
		a.warn("%s", coverageLine(cover))
		for _, p := range cover.Problems {
			a.warn("%s", p)
		}
		if cover.Excluded > 0 {
			a.warn("%s", excludedLine)
		}
	}
	return statusOnly(exitPartly)
}

// answerFindings is answer for a result with findings, which lead to an exit status too
// where they are as severe as --fail-on says.
func (a *app) answerFindings(result any, cover *kernel.Coverage, found []finding.Finding, text func(w *printer)) error {
	err := a.answer(result, cover, text)
	if a.failOn.reached(found) && (err == nil || errors.Is(err, statusOnly(exitPartly))) {
		return statusOnly(exitFinding)
	}
	return err
}

func (a *app) print(result any, text func(w *printer)) error {
	out := bufio.NewWriter(a.stdout)
	if a.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(result); err != nil {
			return err
		}
		return out.Flush()
	}
	text(&printer{w: out})
	return out.Flush()
}

// excludedLine says what it can mean that the kernel's own data was filtered out.
const excludedLine = "every dump level keeps the kernel's own data: where it is excluded, either makedumpfile was too old for this kernel and took it for something else (a newer one, or -d 1, keeps it), or it had been freed"

// coverageLine says what is missing from an answer.
func coverageLine(c *kernel.Coverage) string {
	if c.Unread() == 0 {
		return "the debug information is damaged: counts are lower bounds"
	}
	return fmt.Sprintf("%d of %d objects could not be read (%d excluded from the dump, %d missing, %d damaged): counts are lower bounds",
		c.Unread(), c.Read+c.Unread(), c.Excluded, c.Missing, c.Corrupt)
}

// printer writes text. Its errors are those of the buffered writer, which keeps
// the first one for Flush.
type printer struct{ w io.Writer }

func (p *printer) line(format string, args ...any) {
	_, _ = fmt.Fprintf(p.w, format+"\n", args...)
}

// table writes lines whose cells are separated by tabs.
func (p *printer) table(write func(p *printer)) {
	t := tabwriter.NewWriter(p.w, 0, 8, 2, ' ', 0)
	write(&printer{w: t})
	_ = t.Flush()
}

func (p *printer) findings(list []finding.Finding) {
	if len(list) == 0 {
		return
	}
	p.line("")
	p.line("FINDINGS")
	for _, f := range list {
		p.line("  [%s, %s] %s", f.Severity, f.Confidence, f.Statement)
		for _, e := range f.Evidence {
			p.line("    - %s", e.Fact)
		}
		for _, a := range f.Advice {
			p.line("    → %s", a)
		}
	}
}
