package main

import (
	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/modules"
)

func (a *app) modCommand() *cobra.Command {
	var opt modules.Options
	c := &cobra.Command{
		Use:     "mod [flags] DUMP...",
		Short:   "List the loaded modules",
		Long:    "mod lists the modules that were loaded: where they are, how large, their state, taints\nand build id; with --sections also where each of their sections was loaded.",
		Example: "  mortem mod vmcore\n  mortem mod --sections --json vmcore",
		Args:    atLeast(1, "the dump"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withKernel(args, func(s *session) error {
				r, err := modules.Analyze(s.kernel, opt)
				if err != nil {
					return unusable(err)
				}
				return a.answer(r, &r.Coverage, func(w *printer) { printModules(w, r) })
			})
		},
	}
	c.Flags().BoolVar(&opt.Sections, "sections", false, "list the sections of each module")
	a.kernelFlags(c.Flags())
	return c
}

func printModules(w *printer, r *modules.Report) {
	w.table(func(w *printer) {
		w.line("MODULE\tNAME\tTEXT\tSIZE\tSTATE\tTAINTS\tBUILD ID")
		for _, m := range r.Modules {
			w.line("%s\t%s\t%s\t%d\t%s\t%s\t%s", m.Addr, m.Name, m.Base, m.Size, m.State, orDash(m.Taints), orDash(m.BuildID))
		}
	})
	for _, m := range r.Modules {
		if len(m.Sections) == 0 {
			continue
		}
		w.line("")
		w.table(func(w *printer) {
			w.line("SECTION OF %s\tADDRESS", m.Name)
			for _, s := range m.Sections {
				w.line("%s\t%s", s.Name, s.Addr)
			}
		})
	}
}

// orDash is a cell of a table, which must not be empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
