package ctype

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// PrintOptions say how Print writes a type.
type PrintOptions struct {
	// Plain leaves out the comments with offsets, sizes and holes.
	Plain bool
	// Expand writes out the members of named structs that are members
	// themselves, in place of their names.
	Expand bool
	// Hex writes offsets and sizes in hexadecimal.
	Hex bool
}

// Print writes the definition of a type as C: structs and unions member by
// member, each with its offset and size in bytes, bit-fields with their first
// bit and width, and the holes in between; enums with their values; typedefs
// with what they stand for. Members of anonymous structs are written inside,
// with offsets from the start of the whole. Errors are those of w, or of types
// that could not be read.
func Print(w io.Writer, t *Type, opts PrintOptions) error {
	p := printer{opts: opts, lines: maxLines}
	p.definition(t)
	if p.lines < 0 {
		p.out.WriteString("/* … there is more than can be printed */\n")
	}
	_, err := w.Write(p.out.Bytes())
	if err == nil {
		err = p.err
	}
	return err
}

// The bounds on what Print writes for structs that contain themselves, or that forged
// debug information makes endless otherwise: lines, bytes, and structs in structs.
const (
	maxLines  = 1 << 15
	maxOutput = 16 << 20
	maxInside = 64
)

type printer struct {
	opts  PrintOptions
	out   bytes.Buffer
	lines int
	open  []*Type // structs that are being spelled out
	err   error   // damage in the debug information
}

// definition prints a type at the top level.
func (p *printer) definition(t *Type) {
	switch {
	case t.Kind == Typedef:
		p.declaration(0, "typedef ", t.Elem(), t.Name, 0, "")
	case t.Kind.Keyword() != "" && t.Incomplete:
		p.line(0, t.simpleName()+";", "/* only declared */")
	case t.Kind.Keyword() != "":
		p.block(0, "", t, "", 0, "")
	default:
		p.line(0, t.String()+";", p.comment("size: "+p.number(t.Size())))
	}
}

// declaration prints the declaration of a name; it spells out the base of the
// type where that has no name of its own.
func (p *printer) declaration(depth int, before string, t *Type, name string, at int64, comment string) {
	budget := maxSpelled
	base, words, declarator := t.declarator(name, &budget)
	words = before + words
	if p.spelledOut(base) {
		if t.throughPointer() {
			at = 0
		}
		p.block(depth, words, base, declarator, at, comment)
		return
	}
	p.line(depth, join(words+base.simpleName(), declarator)+";", comment)
}

// throughPointer tells whether the base of a type lies elsewhere in memory.
func (t *Type) throughPointer() bool {
	for range maxDepth {
		switch t.Kind {
		case Pointer, Func:
			return true
		case Array, Const, Volatile, Restrict, Atomic:
			t = t.Elem()
		default:
			return false
		}
	}
	return false
}

func (p *printer) spelledOut(base *Type) bool {
	if base.Kind.Keyword() == "" || base.Incomplete || p.lines <= 0 || len(p.open) >= maxInside || slices.Contains(p.open, base) {
		return false
	}
	return base.Name == "" || p.opts.Expand && base.Kind != Enum
}

// block prints a struct, union or enum with its contents. The offset at, in
// bytes, is that of the struct in the whole.
func (p *printer) block(depth int, words string, t *Type, declarator string, at int64, comment string) {
	head := t.Kind.Keyword()
	if t.Name != "" {
		head += " " + t.Name
	}
	p.line(depth, words+head+" {", "")
	if t.Kind == Enum {
		p.enumerators(depth+1, t)
	} else {
		p.open = append(p.open, t)
		p.members(depth+1, t, at)
		p.open = p.open[:len(p.open)-1]
	}
	if err := t.Body().Err; err != nil && p.err == nil {
		p.err = fmt.Errorf("%s: %w", t, err)
	}
	p.line(depth, join("}", declarator)+";", comment)
}

func (p *printer) enumerators(depth int, t *Type) {
	width := 0
	for _, e := range t.Enumerators() {
		width = max(width, min(len(e.Name), 40))
	}
	for _, e := range t.Enumerators() {
		value := strconv.FormatInt(e.Value, 10)
		if !t.Signed {
			value = strconv.FormatUint(uint64(e.Value), 10)
		}
		p.line(depth, fmt.Sprintf("%-*s = %s,", width, e.Name, value), "")
	}
}

// members prints the members of a struct or union, and its sum.
func (p *printer) members(depth int, t *Type, at int64) {
	holes := holes{union: t.Kind == Union}
	for _, m := range t.Members() {
		if p.lines <= 0 {
			return
		}
		if hole := holes.before(m); hole != "" {
			p.remark(depth, hole)
		}
		p.declaration(depth, "", m.Type, bitName(m), at+m.Offset, p.position(m, at))
	}
	if hole := holes.atEnd(t); hole != "" {
		p.remark(depth, hole)
	}
	if depth == 1 {
		p.remark(depth, fmt.Sprintf("size: %s, members: %d%s", p.number(t.Bytes), len(t.Members()), holes.sum()))
	}
}

// bitName is a member's name with the width of a bit-field.
func bitName(m Member) string {
	if m.BitSize == 0 {
		return m.Name
	}
	return m.Name + ":" + strconv.Itoa(int(m.BitSize))
}

// position is the comment behind a member: offset, first bit, size.
func (p *printer) position(m Member, at int64) string {
	bit := ""
	if m.BitSize > 0 {
		bit = fmt.Sprintf(":%2d", m.BitOffset)
	}
	return p.comment(fmt.Sprintf("%5s%-3s %5s", p.number(at+m.Offset), bit, p.number(m.Type.Size())))
}

func (p *printer) number(n int64) string {
	if p.opts.Hex {
		return "0x" + strconv.FormatInt(n, 16)
	}
	return strconv.FormatInt(n, 10)
}

func (p *printer) comment(text string) string {
	if p.opts.Plain {
		return ""
	}
	return "/* " + text + " */"
}

// remark prints a comment on a line of its own.
func (p *printer) remark(depth int, text string) {
	if !p.opts.Plain {
		p.line(depth, p.comment(text), "")
	}
}

// line prints one line, with the comment in a column of its own.
func (p *printer) line(depth int, text, comment string) {
	if p.lines--; p.out.Len() > maxOutput {
		p.lines = -1
	}
	if p.lines < 0 {
		return
	}
	const tab, column = 8, 56
	p.out.WriteString(strings.Repeat("\t", depth))
	p.out.WriteString(text)
	if comment != "" && !p.opts.Plain {
		p.out.WriteString(strings.Repeat(" ", max(1, column-tab*depth-len(text))))
		p.out.WriteString(comment)
	}
	p.out.WriteByte('\n')
}
