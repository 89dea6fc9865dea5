package stacks

import (
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/unwind"
)

// source finds the functions at a frame's place in the source. It is nil where
// the debug information has no lines there.
func (c *collector) source(f *unwind.Frame) []Source {
	lines, ok := c.k.Info().(debuginfo.Lines)
	if !ok {
		return nil
	}
	if _, _, inImage := c.k.SymbolAt(f.Lookup()); !inImage {
		return nil // modules have debug information of their own
	}
	found, err := lines.Frames(f.Lookup() - c.k.Offset())
	if err != nil {
		return nil
	}
	var list []Source
	for i := range found {
		s := Source{Function: found[i].Name, Inlined: found[i].Inlined, File: found[i].Line.File, Line: found[i].Line.Line}
		list = append(list, s)
	}
	return list
}
