package kernel

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"

	"github.com/kmortem/mortem/kernel/ctype"
)

// A layout is a Go struct that names members of one kernel type. Resolve looks
// the members up once; after that each one is read from an object's bytes at a
// known offset, without lookups:
//
//	type dentryLayout struct {
//		kernel.Layout `kernel:"struct dentry"`
//		Flags kernel.U32 `kernel:"d_flags"`
//		Inode kernel.U64 `kernel:"d_inode"`
//		Count kernel.I32 `kernel:"d_lockref.count|d_count.counter"`
//		Killed kernel.U32 `kernel:"d_killed,optional"`
//	}
//
// Alternatives are separated by |: the first that the type has counts. A member
// that no kernel needs to have is marked optional, and its Has tells.
type Layout struct {
	name string
	size int
	span int
}

// Size is the size of the kernel type in bytes: the stride of an array of it.
func (l *Layout) Size() int { return l.size }

// Span is how many bytes from the start of an object hold all members that the
// layout names. Read that much and not Size: it is less work, and some objects
// are allocated shorter than their type, such as struct task_struct, which ends
// in the largest FPU state that any processor has.
func (l *Layout) Span() int { return l.span }

// Name is the kernel type's C name.
func (l *Layout) Name() string { return l.name }

// place is what all members have in common.
type place struct {
	off  uint32
	name string
}

// Has tells whether the kernel's type has the member.
func (p place) Has() bool { return p.name != "" }

// Path is the member's path as found, of the alternatives.
func (p place) Path() string { return p.name }

// Offset is the member's offset in bytes.
func (p place) Offset() uint64 { return uint64(p.off) }

// U64 is a member of 8 bytes: a pointer, an unsigned long.
type U64 struct{ place }

// U32 is a member of 4 bytes.
type U32 struct{ place }

// I32 is a signed member of 4 bytes: an int, an atomic_t's counter.
type I32 struct{ place }

// Uint is an unsigned number of 1, 2, 4 or 8 bytes or a bit-field, for members
// whose width changed between releases.
type Uint struct {
	place
	bytes uint8
	shift uint8
	width uint8 // in bits; 0 if not a bit-field
}

// Bytes is a member of any type, as bytes.
type Bytes struct {
	place
	size uint32
}

// Offset is a member that is not read itself, only looked for: an embedded
// structure, the head of a list.
type Offset struct{ place }

// Or0 is Get for a member that is optional: 0 where the kernel does not have it.
func (f U64) Or0(object []byte) uint64 {
	if !f.Has() {
		return 0
	}
	return f.Get(object)
}

// Or0 is Get for a member that is optional: 0 where the kernel does not have it.
func (f U32) Or0(object []byte) uint32 {
	if !f.Has() {
		return 0
	}
	return f.Get(object)
}

// Or0 is Get for a member that is optional: 0 where the kernel does not have it.
func (f I32) Or0(object []byte) int32 {
	if !f.Has() {
		return 0
	}
	return f.Get(object)
}

// Or0 is Get for a member that is optional: 0 where the kernel does not have it.
func (f Uint) Or0(object []byte) uint64 {
	if !f.Has() {
		return 0
	}
	return f.Get(object)
}

// Get reads the member from the bytes of an object.
func (f U64) Get(object []byte) uint64 { return binary.LittleEndian.Uint64(object[f.off:]) }

// Get reads the member from the bytes of an object.
func (f U32) Get(object []byte) uint32 { return binary.LittleEndian.Uint32(object[f.off:]) }

// Get reads the member from the bytes of an object.
func (f I32) Get(object []byte) int32 { return int32(binary.LittleEndian.Uint32(object[f.off:])) }

// Get reads the member from the bytes of an object.
func (f Uint) Get(object []byte) uint64 {
	var v uint64
	switch b := object[f.off:]; f.bytes {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(binary.LittleEndian.Uint16(b))
	case 4:
		v = uint64(binary.LittleEndian.Uint32(b))
	default:
		v = binary.LittleEndian.Uint64(b)
	}
	if f.width != 0 {
		v = v >> f.shift & (1<<f.width - 1)
	}
	return v
}

// Get returns the member's part of the bytes of an object.
func (f Bytes) Get(object []byte) []byte { return object[f.off : f.off+f.size] }

// Len is the member's size in bytes.
func (f Bytes) Len() int { return int(f.size) }

// maxLayout bounds the size of a type that can be a layout, so that damaged
// debug information cannot make every object read take gigabytes.
const maxLayout = 1 << 20

// Resolve looks up the members that the layout l names; l is a pointer to a Go
// struct as described at Layout. The error wraps ErrNotFound where the kernel
// lacks the type or a member that is not optional.
func (k *Kernel) Resolve(l any) error {
	v := reflect.ValueOf(l).Elem()
	base, ok := v.Type().FieldByName("Layout")
	if !ok {
		panic("kernel.Resolve: no Layout in " + v.Type().String())
	}
	name := base.Tag.Get("kernel")
	t, err := k.layoutType(name)
	if err != nil {
		return err
	}
	span := 0
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("kernel")
		if tag == "" || v.Type().Field(i).Name == "Layout" {
			continue
		}
		end, err := resolveMember(v.Field(i), t, tag)
		if err != nil {
			return err
		}
		span = max(span, end)
	}
	v.FieldByName("Layout").Set(reflect.ValueOf(Layout{name: name, size: int(t.Size()), span: span}))
	return nil
}

func (k *Kernel) layoutType(name string) (*ctype.Type, error) {
	t, err := k.info.Type(name)
	if err != nil {
		return nil, err
	}
	if t.Incomplete || t.Size() <= 0 || t.Size() > maxLayout {
		return nil, fmt.Errorf("%s: %w with a usable size (%d bytes)", name, ErrNotFound, t.Size())
	}
	return t, nil
}

// resolveMember looks up one member. It returns where the member ends.
func resolveMember(v reflect.Value, t *ctype.Type, tag string) (end int, err error) {
	paths, optional := strings.CutSuffix(tag, ",optional")
	var f ctype.Field
	path := ""
	for _, path = range strings.Split(paths, "|") {
		if f, err = t.Field(path); err == nil {
			break
		}
	}
	if err != nil {
		if optional {
			return 0, nil
		}
		return 0, fmt.Errorf("member %s: %w", paths, err)
	}
	size := f.Type.Size()
	if f.Offset < 0 || size < 0 || f.Offset > t.Size() || size > t.Size()-f.Offset {
		return 0, fmt.Errorf("%s.%s: offset %d and size %d exceed the type's %d bytes", t.Name, path, f.Offset, size, t.Size())
	}
	p := place{off: uint32(f.Offset), name: path}
	width := int64(0)
	switch m := v.Addr().Interface().(type) {
	case *U64:
		m.place, width = p, 8
	case *U32:
		m.place, width = p, 4
	case *I32:
		m.place, width = p, 4
	case *Offset:
		m.place = p
		return 0, nil
	case *Bytes:
		*m = Bytes{place: p, size: uint32(size)}
	case *Uint:
		if size != 1 && size != 2 && size != 4 && size != 8 {
			return 0, fmt.Errorf("%s.%s: %d bytes are no number", t.Name, path, size)
		}
		*m = Uint{place: p, bytes: uint8(size), shift: f.BitOffset, width: f.BitSize}
	default:
		panic("kernel.Resolve: a member of type " + v.Type().String())
	}
	if width != 0 && (size != width || f.BitSize != 0) {
		return 0, fmt.Errorf("%s.%s: has %d bytes where %d are expected", t.Name, path, size, width)
	}
	return int(f.Offset + size), nil
}
