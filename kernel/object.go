package kernel

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/ctype"
)

// Object is a typed piece of kernel memory, for clear code where speed does
// not matter: k.Object("init_task").Field("comm").String(). An Object carries
// the first error of the steps that led to it, and every way to its value
// returns that error. Loops over many objects use layouts instead.
type Object struct {
	k    *Kernel
	typ  *ctype.Type
	addr uint64
	bits ctype.Field // set for bit-fields
	err  error
}

// Object returns the global variable of that name: the kernel's own, or else a
// loaded module's, if those are known.
func (k *Kernel) Object(name string) *Object {
	t, err := k.info.Variable(name)
	if err != nil {
		if k.moduleTypes != nil {
			if t, addr, err := k.moduleTypes.Variable(name); err == nil {
				return &Object{k: k, typ: t, addr: addr}
			}
		}
		return &Object{k: k, err: err}
	}
	addr, err := k.Symbol(name)
	return &Object{k: k, typ: t, addr: addr, err: err}
}

// ObjectAt returns the object of a type, given by its C name, at a kernel
// virtual address. The error wraps ErrNotFound where there is no such type.
// Nothing is read yet.
func (k *Kernel) ObjectAt(typeName string, addr uint64) (*Object, error) {
	t, err := k.info.Type(typeName)
	if err != nil {
		return nil, err
	}
	return &Object{k: k, typ: t, addr: addr}, nil
}

// ObjectOf returns the object of a type at a kernel virtual address.
func (k *Kernel) ObjectOf(t *ctype.Type, addr uint64) *Object {
	return &Object{k: k, typ: t, addr: addr}
}

func (o *Object) fail(format string, args ...any) *Object {
	return &Object{k: o.k, typ: o.typ, addr: o.addr, err: fmt.Errorf(format, args...)}
}

// Err is the first error of the steps that led to the object.
func (o *Object) Err() error { return o.err }

// Addr is the object's kernel virtual address.
func (o *Object) Addr() uint64 { return o.addr }

// Type is the object's C type.
func (o *Object) Type() *ctype.Type { return o.typ }

// BitField is the object's width in bits where it is a bit-field, 0 otherwise.
func (o *Object) BitField() int { return int(o.bits.BitSize) }

// Field returns a member by the path that ctype.Type.Field takes. A pointer
// is followed first, as C's -> does.
func (o *Object) Field(path string) *Object {
	if o.err != nil {
		return o
	}
	if o.typ.Strip().Kind == ctype.Pointer {
		if o = o.Deref(); o.err != nil {
			return o
		}
	}
	f, err := o.typ.Field(path)
	if err != nil {
		return o.fail("%w", err)
	}
	member := &Object{k: o.k, typ: f.Type, addr: o.addr + uint64(f.Offset)}
	if f.BitSize != 0 {
		member.bits = f
	}
	return member
}

// Deref returns the object that a pointer points to.
func (o *Object) Deref() *Object {
	if o.err != nil {
		return o
	}
	t := o.typ.Strip()
	if t.Kind != ctype.Pointer {
		return o.fail("%s is no pointer", o.typ)
	}
	p, err := o.Uint()
	if err != nil {
		return o.fail("%w", err)
	}
	return &Object{k: o.k, typ: t.Elem(), addr: p}
}

// Index returns the i-th element of an array, or of what a pointer points to.
func (o *Object) Index(i int) *Object {
	if o.err != nil {
		return o
	}
	switch t := o.typ.Strip(); t.Kind {
	case ctype.Array:
		if i < 0 || t.Count >= 0 && int64(i) >= t.Count {
			return o.fail("index %d of %s", i, o.typ)
		}
		return &Object{k: o.k, typ: t.Elem(), addr: o.addr + uint64(i)*uint64(t.Elem().Size())}
	case ctype.Pointer:
		first := o.Deref()
		first.addr += uint64(i) * uint64(t.Elem().Size())
		return first
	}
	return o.fail("%s has no elements", o.typ)
}

// Uint reads a number, enum, pointer or bit-field of at most 8 bytes, without
// extending its sign. The error is that of Err, a *ReadError, or says that the
// type is no number.
func (o *Object) Uint() (uint64, error) {
	if o.err != nil {
		return 0, o.err
	}
	size := o.typ.Size()
	switch o.typ.Strip().Kind {
	case ctype.Int, ctype.Enum, ctype.Pointer:
	default:
		return 0, fmt.Errorf("%s is no number", o.typ)
	}
	if size < 1 || size > 8 {
		return 0, fmt.Errorf("%s of %d bytes is no number that can be read", o.typ, size)
	}
	var buf [8]byte
	if _, err := o.k.Read(buf[:size], o.addr); err != nil {
		return 0, err
	}
	v := binary.LittleEndian.Uint64(buf[:])
	if o.bits.BitSize != 0 {
		v = v >> o.bits.BitOffset & (1<<o.bits.BitSize - 1)
	}
	return v, nil
}

// Int is Uint with the sign extended from the type's width. Errors are those of
// Uint.
func (o *Object) Int() (int64, error) {
	v, err := o.Uint()
	if err != nil {
		return 0, err
	}
	width := uint(o.typ.Size() * 8)
	if o.bits.BitSize != 0 {
		width = uint(o.bits.BitSize)
	}
	return int64(v<<(64-width)) >> (64 - width), nil
}

// Bytes reads the whole object, which must not exceed 1 MiB. The error is that
// of Err, a *ReadError, or says that the object is larger.
func (o *Object) Bytes() ([]byte, error) {
	if o.err != nil {
		return nil, o.err
	}
	size := o.typ.Size()
	if size < 0 || size > maxLayout {
		return nil, fmt.Errorf("%s has %d bytes, more than can be read at once", o.typ, size)
	}
	b := make([]byte, size)
	_, err := o.k.Read(b, o.addr)
	return b, err
}

// Text reads a char array, or the string that a char pointer points to, up to
// its NUL, escaped to be shown. The error is that of Err, or a *ReadError,
// which the part before it comes with.
func (o *Object) Text() (string, error) {
	if o.err != nil {
		return "", o.err
	}
	if o.typ.Strip().Kind == ctype.Pointer {
		p, err := o.Uint()
		if err != nil {
			return "", err
		}
		b, err := o.k.CString(p, 4096)
		return cstr.Show(b), err
	}
	b, err := o.Bytes()
	return cstr.ShowC(b), err
}
