package hashtable

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/expr"
)

// Options say of a table what its type cannot.
type Options struct {
	Buckets uint64 // how many there are, where a pointer leads to them
	Head    string // path of the head in a bucket's structure, where there are several
	Link    string // member that links the entries, where the bucket is a bare pointer; empty means next
	Entry   string // what the entries are: type and member, such as "struct dentry.d_hash"
}

// ErrCount: it is not known how many buckets there are.
var ErrCount = errors.New("how many buckets there are is not known")

// maxBuckets is more than any table has: 1<<31 of dentry_hashtable on a machine of
// 16 TiB.
const maxBuckets = 1 << 31

// Expr finds the table that a C expression stands for: an array of heads, a pointer
// to the first of them, a struct rhashtable, or a pointer to one. What is between
// the head and the entries is told by its type. A struct rhashtable that is being
// resized is two tables. Addresses are kernel virtual ones. The error wraps
// kernel.ErrNotFound for a name that is not known, ErrNoHead where there is no
// head, ErrCount where it is not known how many buckets there are, is an
// *expr.SyntaxError, or one of reading.
func Expr(k *kernel.Kernel, text string, opt Options) ([]*Table, error) {
	v, err := expr.Eval(k, text)
	if err != nil {
		return nil, err
	}
	o := v.Object()
	if o == nil {
		at, err := v.Uint()
		if err != nil || v.Type().Strip().Kind != ctype.Pointer {
			return nil, fmt.Errorf("%s is a %s, and no table", text, v.Type())
		}
		return fromPointer(k, text, v.Type(), at, opt)
	}
	return fromObject(k, text, o, opt)
}

// fromObject makes the tables of an object in memory.
func fromObject(k *kernel.Kernel, name string, o *kernel.Object, opt Options) ([]*Table, error) {
	if err := o.Err(); err != nil {
		return nil, err
	}
	t := o.Type().Strip()
	switch t.Kind {
	case ctype.Array:
		if t.Count > 0 && opt.Buckets == 0 {
			opt.Buckets = uint64(t.Count)
		}
		return array(k, name, t.Elem(), o.Addr(), opt)
	case ctype.Pointer:
		at, err := o.Uint()
		if err != nil {
			return nil, err
		}
		return fromPointer(k, name, t, at, opt)
	}
	if isResizable(t) {
		return resizable(k, name, o.Addr(), t, opt)
	}
	// A single list, or a structure of which one is said to be meant.
	if _, ok, _ := plainHead(k, t, opt.Link); ok || opt.Head != "" {
		opt.Buckets = max(opt.Buckets, 1)
		return array(k, name, t, o.Addr(), opt)
	}
	return nil, fmt.Errorf("%s is a %s: %w; name its member that is the table", name, o.Type(), ErrNoHead)
}

func fromPointer(k *kernel.Kernel, name string, pointer *ctype.Type, at uint64, opt Options) ([]*Table, error) {
	elem := pointer.Strip().Elem()
	if at == 0 {
		return nil, fmt.Errorf("%s is NULL: the kernel did not set the table up", name)
	}
	if t := elem.Strip(); isResizable(t) {
		return resizable(k, name, at, t, opt)
	}
	if t := elem.Strip(); t.Kind == ctype.Array && opt.Buckets == 0 && t.Count > 0 {
		opt.Buckets = uint64(t.Count)
		elem = t.Elem()
	}
	return array(k, name, elem, at, opt)
}

// array makes the table whose buckets lie side by side.
func array(k *kernel.Kernel, name string, bucket *ctype.Type, at uint64, opt Options) ([]*Table, error) {
	h, err := headOf(k, bucket, opt.Head, opt.Link)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if opt.Buckets == 0 {
		return nil, fmt.Errorf("%s: %w: give their number", name, ErrCount)
	}
	t := &Table{Name: name, Expr: name, Addr: at, Buckets: opt.Buckets, Stride: uint64(bucket.Size()), Head: h, k: k}
	if t.Buckets > maxBuckets || t.Stride < 8 || t.Stride > bytesAtOnce || h.Offset+8 > t.Stride {
		return nil, fmt.Errorf("%s: a table of %d buckets of %d bytes cannot be", name, t.Buckets, t.Stride)
	}
	t.maximum = int(k.Image().Facts().MaxPhys/16) + 1
	t.nameEntries(opt.Entry)
	t.learnNulls()
	return []*Table{t}, nil
}

// nameEntries takes the first of several "struct type.member" that the kernel has
// for what the entries are.
func (t *Table) nameEntries(names string) {
	for _, name := range strings.Split(names, "|") {
		typ, path, ok := splitEntry(name)
		if !ok {
			continue
		}
		ct, err := t.k.Type(typ)
		if err != nil {
			continue
		}
		if f, err := ct.Field(path); err == nil {
			t.Entry, t.link = name, uint64(f.Offset)
			return
		}
	}
}

// splitEntry divides "struct dentry.d_hash" into its type and its member.
func splitEntry(name string) (typ, path string, ok bool) { return strings.Cut(name, ".") }

// CheckEntry tells whether a kernel has the type and member that are said to link
// entries. It returns nil if so; the error wraps kernel.ErrNotFound for a type
// that is not known.
func CheckEntry(k *kernel.Kernel, name string) error {
	typ, path, ok := splitEntry(name)
	if !ok {
		return fmt.Errorf("%q is not a type and a member, such as struct dentry.d_hash", name)
	}
	ct, err := k.Type(typ)
	if err != nil {
		return err
	}
	_, err = ct.Field(path)
	return err
}

// variable is a place in the kernel by the name of a variable, its type for where
// the debug information knows none of variables (BTF), and a path, all separated
// by ":". Steps through pointers are "->", "[*]" stands for all elements of an
// array, and "[*32]" for those of an array of that many. The variable "net" is each
// network namespace.
func (r *Reader) variable(text string, net uint64) ([]place, error) {
	parts := strings.SplitN(text, ":", 3)
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	o, name, err := r.root(parts[0], parts[1], net)
	if err != nil {
		return nil, err
	}
	places := []place{{o, name}}
	for rest := parts[2]; rest != ""; {
		if places, rest, err = step(places, rest); err != nil {
			return nil, err
		}
	}
	return places, nil
}

// place is an object and the expression that leads to it.
type place struct {
	*kernel.Object
	expr string
}

func (r *Reader) root(symbol, typ string, net uint64) (*kernel.Object, string, error) {
	if symbol == "net" {
		o, err := r.k.ObjectAt("struct net", net)
		if net == r.initNet {
			return o, "init_net", err
		}
		return o, fmt.Sprintf("(*(struct net *)%#x)", net), err
	}
	o := r.k.Object(symbol)
	if o.Err() == nil || typ == "" {
		return o, symbol, o.Err()
	}
	at, err := r.k.Symbol(symbol)
	if err != nil {
		return nil, "", err
	}
	t, err := r.typeOf(typ)
	if err != nil {
		return nil, "", err
	}
	return r.k.ObjectOf(t, at), symbol, nil
}

// typeOf makes a type of a name that may end in " *" or "[n]".
func (r *Reader) typeOf(name string) (*ctype.Type, error) {
	if elem, ok := strings.CutSuffix(name, " *"); ok {
		t, err := r.typeOf(elem)
		return ctype.Lazy(&ctype.Type{Kind: ctype.Pointer, Bytes: 8}, func() ctype.Body { return ctype.Body{Elem: t} }), err
	}
	if i := strings.IndexByte(name, '['); i >= 0 {
		n, err := strconv.ParseInt(strings.TrimSuffix(name[i+1:], "]"), 10, 64)
		if err != nil {
			return nil, err
		}
		t, err := r.typeOf(name[:i])
		return ctype.Lazy(&ctype.Type{Kind: ctype.Array, Count: n}, func() ctype.Body { return ctype.Body{Elem: t} }), err
	}
	return r.k.Type(name)
}

// step goes one step along a path: into a member, through a pointer, or to all
// elements of an array.
func step(places []place, path string) ([]place, string, error) {
	if rest, ok := strings.CutPrefix(path, "->"); ok {
		path = rest
	} else if rest, ok := strings.CutPrefix(path, "[*"); ok {
		limit, rest, _ := strings.Cut(rest, "]")
		n, _ := strconv.Atoi(limit) // 0 where the array's own type tells
		list, err := elements(places, n)
		return list, strings.TrimPrefix(rest, "."), err
	}
	end := len(path)
	for _, stop := range []string{"->", "["} {
		if i := strings.Index(path, stop); i >= 0 {
			end = min(end, i)
		}
	}
	name, rest := path[:end], path[end:]
	for i, p := range places {
		dot := "."
		if p.Type().Strip().Kind == ctype.Pointer {
			dot = "->"
		}
		places[i] = place{p.Field(name), p.expr + dot + name}
		if err := places[i].Err(); err != nil {
			return nil, "", err
		}
	}
	return places, rest, nil
}

// maxElements bounds an array of tables.
const maxElements = 1 << 10

func elements(places []place, n int) ([]place, error) {
	var list []place
	for _, p := range places {
		count := n
		if t := p.Type().Strip(); t.Kind == ctype.Array {
			count = int(min(max(t.Count, 0), maxElements))
		}
		for i := range count {
			e := p.Index(i)
			if err := e.Err(); err != nil {
				return list, err
			}
			list = append(list, place{e, fmt.Sprintf("%s[%d]", p.expr, i)})
		}
	}
	return list, nil
}
