package main

import (
	"fmt"

	"github.com/kmortem/mortem/analysis/stacks"
)

// printData prints the memory of a frame: two words a line, as crash does, or one
// where any of them is named.
func printData(w *printer, words []stacks.Word) {
	for i := range words {
		if words[i].Symbol != "" || words[i].Cache != "" {
			for i := range words {
				printWord(w, &words[i])
			}
			return
		}
	}
	for i := 0; i < len(words); i += 2 {
		line := fmt.Sprintf("    %016x: %016x", uint64(words[i].Addr), uint64(words[i].Value))
		if i+1 < len(words) {
			line += fmt.Sprintf(" %016x", uint64(words[i+1].Value))
		}
		w.line("%s", line)
	}
}

// printWord prints a word of a stack, and what it points to.
func printWord(w *printer, word *stacks.Word) {
	name := ""
	switch {
	case word.Symbol != "":
		name = " " + word.Symbol
	case word.Cache != "":
		name = word.Cache
		if off := word.Value - word.Object; off != 0 {
			name += fmt.Sprintf("+%#x", uint64(off))
		}
		if word.Free {
			name += ", free"
		}
		name = " [" + name + "]"
	}
	w.line("    %016x: %016x%s", uint64(word.Addr), uint64(word.Value), name)
}

// printFound prints registers that a search of the stacks found.
func printFound(w *printer, list []stacks.Found) {
	if len(list) == 0 {
		w.line("    no registers of an exception on its stack")
	}
	for i := range list {
		f := &list[i]
		mode := "KERNEL"
		if f.User {
			mode = "USER"
		}
		where := ""
		if f.Stack != "task" {
			where = " on the " + f.Stack + " stack"
		}
		if !f.Walked {
			where += "  (the frames do not lead through it)"
		}
		w.line("  %s-MODE EXCEPTION FRAME AT: %016x%s", mode, uint64(f.Addr), where)
		if f.At != "" {
			w.line("    [exception %s: %s]", pcName(f.Registers), f.At)
		}
		printRegisters(w, f.Registers)
	}
}
