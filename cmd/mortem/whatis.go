package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/whatis"
)

func (a *app) whatisCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "whatis [flags] DUMP... ADDRESS",
		Short: "Say what lies at an address",
		Long: "whatis says what a kernel virtual address is: a symbol or a member of one, a task or its stack,\n" +
			"a slab object (of which cache, in use or free), a page and what it is used for, a vmalloc area,\n" +
			"a part of a module, a per-CPU variable. More than one may be true. The address is hexadecimal,\n" +
			"or the name of a symbol, with +OFFSET.",
		Example: "  mortem whatis --vmlinux vmlinux vmcore ffff9e27900892c0\n" +
			"  mortem whatis --vmlinux vmlinux vmcore init_net+0x40",
		Args: atLeast(2, "the dump or the address"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withKernel(args[:len(args)-1], func(s *session) error {
				addr, err := placeOf(s, args[len(args)-1])
				if err != nil {
					return err
				}
				r := whatis.Look(s.kernel, addr)
				return a.answer(r, &r.Coverage, func(w *printer) { printWhatis(w, r) })
			})
		},
	}
	a.kernelFlags(c.Flags())
	return c
}

func printWhatis(w *printer, r *whatis.Report) {
	if r.Phys != nil {
		w.line("%s is physical address %s", r.Addr, r.Phys)
	} else {
		w.line("%s", r.Addr)
	}
	w.table(func(w *printer) {
		for i := range r.Answers {
			an := &r.Answers[i]
			w.line("%s\t%s", an.Kind, an.Text)
			if an.Doubt != "" {
				w.line("\tdoubtful: %s", an.Doubt)
			}
		}
		if len(r.Answers) == 0 {
			w.line("nothing that is known lies there")
		}
	})
}

// placeOf is an address: a hexadecimal number, or a symbol with an offset.
func placeOf(s *session, text string) (uint64, error) {
	base, offset := text, uint64(0)
	for i := range text {
		if text[i] != '+' {
			continue
		}
		n, err := strconv.ParseUint(text[i+1:], 0, 64)
		if err != nil {
			return 0, usage("%q is no offset", text[i+1:])
		}
		base, offset = text[:i], n
		break
	}
	if addr, ok := hexAddress(base); ok {
		return addr + offset, nil
	}
	addr, err := s.kernel.Symbol(base)
	if err != nil {
		return 0, usage("%q is neither a hexadecimal address nor a symbol of the kernel", base)
	}
	return addr + offset, nil
}

func hexAddress(text string) (uint64, bool) {
	if len(text) > 2 && (text[:2] == "0x" || text[:2] == "0X") {
		text = text[2:]
	} else if len(text) < 8 { // "add" is more likely a symbol
		return 0, false
	}
	n, err := strconv.ParseUint(text, 16, 64)
	return n, err == nil
}
