package expr

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/ctype"
)

// What Format prints at most of one value.
const (
	maxLines    = 10000
	maxElements = 64 // of an array
	maxText     = 1024
)

// Format writes a value in the notation of C: numbers, addresses with the
// symbol that they lie in, enums by name, char arrays as strings, structures
// member by member. What cannot be read is said in its place, and the first such
// error is returned once everything is written. Strings are escaped to be shown.
func Format(w io.Writer, k *kernel.Kernel, v Value) error {
	f := &formatter{k: k}
	if v.object == nil {
		f.out.WriteString(f.scalar(v.typ, v.number))
	} else {
		f.object(v.object, 0)
	}
	f.out.WriteByte('\n')
	if _, err := w.Write(f.out.Bytes()); err != nil {
		return err
	}
	return f.err
}

type formatter struct {
	k     *kernel.Kernel
	out   bytes.Buffer
	lines int
	err   error // the first that occurred
}

// fail says in place of a value why there is none.
func (f *formatter) fail(err error) {
	if f.err == nil {
		f.err = err
	}
	fmt.Fprintf(&f.out, "<%v>", err)
}

func (f *formatter) object(o *kernel.Object, depth int) {
	t := o.Type().Strip()
	switch {
	case depth > maxNesting || f.lines > maxLines:
		f.out.WriteString("…")
	case t.Kind == ctype.Struct || t.Kind == ctype.Union:
		f.record(o, t, depth)
	case t.Kind == ctype.Array && t.Elem().Strip().Encoding == ctype.Char:
		f.text(o, t)
	case t.Kind == ctype.Array:
		f.array(o, t, depth)
	case t.Kind == ctype.Int, t.Kind == ctype.Enum, t.Kind == ctype.Pointer:
		n, err := Value{object: o, typ: o.Type()}.Uint()
		if err != nil {
			f.fail(err)
			return
		}
		f.out.WriteString(f.scalar(o.Type(), n))
	case t.Kind == ctype.Void:
		fmt.Fprintf(&f.out, "(its type is not known; cast its address: *(TYPE *)%#x)", o.Addr())
	default:
		fmt.Fprintf(&f.out, "(%s at %#x)", o.Type(), o.Addr())
	}
}

func (f *formatter) line(depth int) {
	f.lines++
	f.out.WriteByte('\n')
	f.out.WriteString(strings.Repeat("\t", depth))
}

func (f *formatter) record(o *kernel.Object, t *ctype.Type, depth int) {
	f.out.WriteByte('{')
	for _, m := range t.Members() {
		f.line(depth + 1)
		if m.Name == "" {
			// Its members are reached by their own names.
			f.object(f.k.ObjectOf(m.Type, o.Addr()+uint64(m.Offset)), depth+1)
			f.out.WriteByte(',')
			continue
		}
		f.out.WriteString("." + m.Name + " = ")
		if member := o.Field(m.Name); member.Err() != nil {
			f.fail(member.Err())
		} else {
			f.object(member, depth+1)
		}
		f.out.WriteByte(',')
		if f.lines > maxLines {
			break
		}
	}
	f.line(depth)
	f.out.WriteByte('}')
}

func (f *formatter) text(o *kernel.Object, t *ctype.Type) {
	var b []byte
	var err error
	if t.Count < 0 { // as of linux_banner, whose length only its definition has
		b, err = f.k.CString(o.Addr(), maxText)
	} else {
		b = make([]byte, min(t.Count, maxText))
		_, err = f.k.Read(b, o.Addr())
	}
	if err != nil {
		f.fail(err)
		return
	}
	f.out.WriteString(`"` + strings.ReplaceAll(cstr.ShowC(b), `"`, `\"`) + `"`)
}

func (f *formatter) array(o *kernel.Object, t *ctype.Type, depth int) {
	if t.Count < 0 {
		f.out.WriteString("{…}") // a flexible array: how many there are is not in the type
		return
	}
	f.out.WriteByte('{')
	for i := range min(int(t.Count), maxElements) {
		if i > 0 {
			f.out.WriteString(", ")
		}
		f.object(o.Index(i), depth+1)
		if f.lines > maxLines {
			break
		}
	}
	if t.Count > maxElements {
		fmt.Fprintf(&f.out, ", … %d in all", t.Count)
	}
	f.out.WriteByte('}')
}

func (f *formatter) scalar(t *ctype.Type, n uint64) string {
	s := t.Strip()
	switch {
	case s.Kind == ctype.Pointer:
		return f.pointer(s, n)
	case s.Kind == ctype.Enum:
		for _, e := range s.Enumerators() {
			if uint64(e.Value) == n {
				return e.Name
			}
		}
	case s.Encoding == ctype.Bool && n < 2:
		return []string{"false", "true"}[n]
	case s.Name == "char" && n >= ' ' && n <= '~':
		return fmt.Sprintf("%d %q", n, rune(n))
	}
	if signed(t) {
		return fmt.Sprint(int64(n))
	}
	return fmt.Sprint(n)
}

// pointer is an address, with the symbol or the string that it leads to.
func (f *formatter) pointer(t *ctype.Type, n uint64) string {
	if n == 0 {
		return "NULL"
	}
	text := fmt.Sprintf("%#x", n)
	if name, ok := f.k.LookupName(n); ok {
		return text + " <" + name + ">"
	}
	if t.Elem().Strip().Encoding == ctype.Char {
		if b, err := f.k.CString(n, maxText); err == nil {
			return text + ` "` + strings.ReplaceAll(cstr.Show(b), `"`, `\"`) + `"`
		}
	}
	return text
}
