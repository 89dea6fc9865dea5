package stacks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/glob"
	"github.com/kmortem/mortem/kernel/unwind"
)

// passes tells whether one of the wanted functions is on a stack, by itself or
// inlined into another.
func (c *collector) passes(trace *unwind.Trace) bool {
	if len(c.opt.In) == 0 {
		return true
	}
	found := false
	for i := range trace.Frames {
		f := &trace.Frames[i]
		fn, ok := c.tracer.Function(f)
		found = found || ok && slices.ContainsFunc(c.opt.In, func(want string) bool { return isFunction(fn.Name, want) })
		found = c.inlines(f.Lookup(), fn.Module) || found // also to find out for all frames
	}
	return found
}

// inlines tells whether one of the wanted functions is inlined at an address of
// code. Equal places on many stacks are looked up once.
func (c *collector) inlines(at uint64, module string) bool {
	is, known := c.inlined[at]
	if !known {
		is = c.lookInlined(at, module)
		c.inlined[at] = is
	}
	return is
}

func (c *collector) lookInlined(at uint64, module string) (is bool) {
	found, ok := c.inlinedAt(at)
	if !ok {
		c.lacksInlining(module)
	}
	for i := range found {
		for j, want := range c.opt.In {
			if found[i].Inlined && isFunction(found[i].Name, want) {
				is, c.opt.inlined[j] = true, true
			}
		}
	}
	return is
}

// inlinedAt finds the functions at an address of code; it is false where the debug
// information does not tell which are inlined there.
func (c *collector) inlinedAt(at uint64) (list []debuginfo.Frame, ok bool) {
	code, ok := c.k.CodeAt(at)
	if !ok {
		return nil, false
	}
	lines, err := code.Lines()
	if err != nil || !tellsInlined(lines) {
		return nil, false
	}
	link, ok := code.Link(at)
	if !ok {
		return nil, true // code of no file, such as that of BPF
	}
	list, err = lines.Frames(link)
	if err != nil {
		c.lacks(err.Error()) // and go on with what was found
		cover := &c.report.Coverage
		cover.Damage = cmp.Or(cover.Damage, err.Error())
	}
	return list, true
}

// tellsInlined tells whether debug information knows what is inlined: that which
// has local variables, which is DWARF.
func tellsInlined(lines debuginfo.Lines) bool { return lines.Locals() }

// kernelTells tells whether the kernel's debug information knows what is inlined.
func (t *Tasks) kernelTells() bool {
	lines, ok := t.k.Info().(debuginfo.Lines)
	return ok && tellsInlined(lines)
}

// lacksInlining notes where functions can be missed that were inlined into others.
func (c *collector) lacksInlining(module string) {
	if !slices.Contains(c.blind, module) && len(c.blind) < maxMissing {
		c.blind = append(c.blind, module)
	}
}

// saysBlind says in the report where functions can be missed: all in one line, for
// there can be many modules.
func (c *collector) saysBlind() {
	var where []string
	for _, module := range c.blind {
		if module == "" {
			where = slices.Insert(where, 0, "the kernel itself")
		} else {
			where = append(where, module)
		}
	}
	if n := len(where) - maxBlind; n > 0 {
		where = append(where[:maxBlind], fmt.Sprintf("%d more modules", n))
	}
	if len(where) > 0 {
		c.lacks("functions inlined into others are not found in " + strings.Join(where, ", ") + ": that needs DWARF")
	}
}

// maxBlind bounds how many modules are named whose inlined functions are not known.
const maxBlind = 8

// knowsFunction tells whether the kernel's debug information has a function of
// that name, be it that it was inlined wherever it is called, and tells where.
func (t *Tasks) knowsFunction(name string) bool {
	if !t.kernelTells() {
		return false
	}
	info := t.k.Info()
	if !glob.Is(name) {
		_, err := info.Function(name)
		return err == nil
	}
	names, ok := info.(debuginfo.Names)
	if !ok {
		return false
	}
	for known := range names.Functions() {
		if glob.Match(name, known) {
			return true
		}
	}
	return false
}
