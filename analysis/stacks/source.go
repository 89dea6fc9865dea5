package stacks

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/unwind"
)

// source finds the functions at a frame's place in the source. It is nil where
// the debug information has no lines there; what kind of it is missing is noted.
func (c *collector) source(trace *unwind.Trace, i int, module string) []Source {
	at := trace.Frames[i].Lookup()
	code, ok := c.k.CodeAt(at)
	if !ok {
		if module != "" {
			c.lacks("no debug information of module " + module)
		}
		return nil
	}
	lines, err := code.Lines()
	if err != nil {
		c.lacks(err.Error())
		return nil
	}
	if c.opt.Locals && !lines.Locals() {
		c.lacks("no local variables in " + code.Info.Describe() + ": they are in DWARF")
	}
	link, ok := code.Link(at)
	if !ok {
		return nil
	}
	found, err := lines.Frames(link)
	if err != nil {
		c.lacks(err.Error()) // and go on with what was found
		cover := &c.report.Coverage
		cover.Damage = cmp.Or(cover.Damage, err.Error())
	}
	var list []Source
	for n := range found {
		s := Source{Function: found[n].Name, Inlined: found[n].Inlined, File: found[n].Line.File, Line: found[n].Line.Line}
		if c.opt.Locals {
			for j := range found[n].Locals {
				s.Locals = append(s.Locals, c.local(trace, i, &found[n].Locals[j], found[n].FrameBase))
			}
		}
		list = append(list, s)
	}
	return list
}

// maxMissing bounds how many kinds of missing debug information are noted.
const maxMissing = 64

// lacks notes what is missing of the debug information.
func (c *collector) lacks(what string) {
	if r := c.report; !slices.Contains(r.Missing, what) && len(r.Missing) < maxMissing {
		r.Missing = append(r.Missing, what)
	}
}

// local finds the value of a variable at a frame.
func (c *collector) local(trace *unwind.Trace, i int, l *debuginfo.Local, base []byte) Local {
	d := Local{Name: l.Name, Parameter: l.Parameter}
	if l.Type != nil {
		d.Type = l.Type.String()
	}
	if l.Const != nil {
		d.Value = c.scalar(l.Type, uint64(*l.Const))
		return d
	}
	loc, err := c.tracer.Locate(trace, i, l.Location, base)
	switch {
	case err != nil:
		d.Unknown = err.Error()
	case loc.Pieces != nil:
		d.Unknown, d.Where = "split up by the compiler", fmt.Sprintf("%d pieces", len(loc.Pieces))
	case loc.Memory:
		d.Where = fmt.Sprintf("%#x", loc.Addr)
		if d.Value, err = c.inMemory(l.Type, loc.Addr); err != nil {
			d.Unknown = err.Error()
		}
	default:
		d.Where, d.Value = loc.Reg, c.scalar(l.Type, loc.Value)
		switch {
		case loc.Likely:
			d.Where = "as passed by the caller, likely"
		case loc.Entry:
			d.Where = "as passed by the caller"
		}
	}
	return d
}

var errNoType = errors.New("its type is not known")

// inMemory is the value of a variable in memory. Of structures and arrays it is
// only said that they are there: their address is enough to print them.
func (c *collector) inMemory(t *ctype.Type, addr uint64) (string, error) {
	if t == nil {
		return "", errNoType
	}
	switch t.Strip().Kind {
	case ctype.Struct, ctype.Union, ctype.Array:
		return "{…}", nil
	}
	n, err := c.k.ObjectOf(t, addr).Uint()
	if err != nil {
		return "", err
	}
	return c.scalar(t, n), nil
}

// scalar writes a number as its type has it.
func (c *collector) scalar(t *ctype.Type, n uint64) string {
	if t == nil {
		return fmt.Sprintf("%#x", n)
	}
	s := t.Strip()
	if size := s.Size(); size > 0 && size < 8 {
		shift := 64 - 8*uint(size)
		if n = n << shift >> shift; s.Signed {
			n = uint64(int64(n<<shift) >> shift)
		}
	}
	switch s.Kind {
	case ctype.Pointer:
		if name := c.k.SymbolName(n); n != 0 && name != "" && name[0] != '0' {
			return fmt.Sprintf("%#x <%s>", n, name)
		}
		return fmt.Sprintf("%#x", n)
	case ctype.Enum:
		for _, e := range s.Enumerators() {
			if e.Value == int64(n) || uint32(e.Value) == uint32(n) && s.Size() == 4 {
				return e.Name
			}
		}
	case ctype.Struct, ctype.Union, ctype.Array, ctype.Float:
		return fmt.Sprintf("%#x", n)
	}
	if s.Encoding == ctype.Bool {
		return fmt.Sprint(n != 0)
	}
	if s.Signed {
		return fmt.Sprint(int64(n))
	}
	return fmt.Sprint(n)
}
