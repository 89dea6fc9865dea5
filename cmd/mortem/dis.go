package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/kernel/arch/disasm"
)

func (a *app) disCommand() *cobra.Command {
	var opt disasm.Options
	c := &cobra.Command{
		Use:   "dis [flags] DUMP... FUNCTION|ADDRESS",
		Short: "Disassemble a function of the dumped kernel or its modules",
		Long: "dis prints the instructions of a function as they are in the dump, that is with all that the\n" +
			"kernel patched, with the names of what they call and refer to. For an address it prints the\n" +
			"function around it up to that address, and marks it; FUNCTION+OFFSET is such an address.",
		Example: "  mortem dis --vmlinux vmlinux vmcore __mutex_lock\n" +
			"  mortem dis --vmlinux vmlinux --lines vmcore mutex_lock+0x1a\n" +
			"  mortem dis vmcore 0xffffffff81a01020",
		Args: atLeast(2, "the dump or the function"),
		RunE: func(c *cobra.Command, args []string) error {
			place := args[len(args)-1]
			return a.withKernel(args[:len(args)-1], func(s *session) error {
				r, err := disasm.Disassemble(s.kernel, place, opt)
				if errors.Is(err, disasm.ErrData) {
					return usage("%v; read it with 'mortem eval'", err)
				}
				if err != nil {
					return named(err)
				}
				if r.Missing != "" {
					a.warn("%s", r.Missing)
				}
				return a.answer(r, &r.Coverage, func(w *printer) { printCode(w, r, opt.Bytes) })
			})
		},
	}
	c.Flags().BoolVarP(&opt.Lines, "lines", "l", false, "print source lines")
	c.Flags().BoolVar(&opt.Whole, "whole", false, "print the whole function around an address")
	c.Flags().BoolVar(&opt.Bytes, "bytes", false, "print the bytes of the instructions")
	mostFlag(c.Flags(), &opt.Limit, "limit", 100_000, "print no more than this many instructions")
	a.kernelFlags(c.Flags())
	return c
}

func printCode(w *printer, r *disasm.Report, bytes bool) {
	last := ""
	for i := range r.Instructions {
		in := &r.Instructions[i]
		if place := in.File + ":" + strconv.Itoa(in.Line); in.File != "" && place != last {
			w.line("%s", place)
			last = place
		}
		mark := "  "
		if r.Address != 0 && in.Addr == r.Address {
			mark = "=>"
		}
		hex := ""
		if bytes {
			hex = fmt.Sprintf("  %-30s", in.Bytes)
		}
		where := fmt.Sprintf("<%s+%d>:", r.Function, in.Offset)
		text := in.Text
		if in.Refers != "" && !strings.Contains(text, in.Refers) {
			text += "    # " + in.Refers
		}
		w.line("%s%016x %s%s  %s", mark, uint64(in.Addr), where, hex, text)
	}
	if r.More {
		w.line("  … (--limit)")
	}
}
