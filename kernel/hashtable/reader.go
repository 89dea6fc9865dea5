package hashtable

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/netns"
)

// Reader finds the hash tables that are known by name.
type Reader struct {
	k       *kernel.Kernel
	initNet uint64 // 0 where the kernel has none
}

// New makes a reader.
func New(k *kernel.Kernel) *Reader {
	r := &Reader{k: k}
	r.initNet, _ = k.Symbol("init_net") // presets of namespaces are not there then
	return r
}

// ErrUnknown: no preset has the name.
var ErrUnknown = errors.New("no hash table is known by that name")

// Lookup finds a preset by its name. The error wraps ErrUnknown.
func Lookup(name string) (Preset, error) {
	for _, p := range presets {
		if p.Name == name {
			return p, nil
		}
	}
	return Preset{}, fmt.Errorf("%q: %w", name, ErrUnknown)
}

// Nets are the namespaces other than init_net whose tables Tables can find.
// They are kernel virtual addresses of struct net; those before a break of
// their list come with the error.
func (r *Reader) Nets() ([]uint64, error) {
	nets, err := netns.New(r.k)
	if err != nil {
		return nil, err
	}
	var list []uint64
	for n, err := range nets.All() {
		if err != nil {
			return list, err
		}
		if n.Addr != r.initNet {
			list = append(list, n.Addr)
		}
	}
	return list, nil
}

// Tables are the tables of a preset, most often one. Where each network namespace
// has its own, net tells which: the address of a struct net, or 0 for init_net. The
// error wraps kernel.ErrNotFound or ctype.ErrNoField where this kernel has no such
// table.
func (r *Reader) Tables(p Preset, net uint64) ([]*Table, error) {
	if p.Net && net == 0 {
		if net = r.initNet; net == 0 {
			return nil, fmt.Errorf("init_net: %w", kernel.ErrNotFound)
		}
	}
	var lacking error
	for _, f := range p.forms {
		tables, err := r.form(p, f, net)
		switch {
		case err == nil:
			return tables, nil
		case !absent(err):
			return tables, err
		}
		lacking = err // the first form is that of the newest kernels, the last says least
	}
	if p.Gone != "" {
		return nil, fmt.Errorf("%s: %w", p.Gone, kernel.ErrNotFound)
	}
	return nil, lacking
}

// absent tells whether an error says that the kernel has no such thing.
func absent(err error) bool {
	return errors.Is(err, kernel.ErrNotFound) || errors.Is(err, ctype.ErrNoField)
}

// Absent tells whether an error of Tables says that the kernel has no such table,
// or does not say where: nothing is missing from the dump then.
func Absent(err error) bool { return absent(err) || errors.Is(err, ErrUnset) }

// ErrUnset: the pointer to the table is NULL, because nobody has used it yet.
var ErrUnset = errors.New("the kernel has not set it up")

// form makes the tables of one form.
func (r *Reader) form(p Preset, f form, net uint64) ([]*Table, error) {
	if f.needs != "" {
		if err := CheckEntry(r.k, f.needs); err != nil {
			return nil, err
		}
	}
	places, err := r.variable(f.at, net)
	if err != nil {
		return nil, err
	}
	set := slices.DeleteFunc(slices.Clone(places), func(p place) bool { return isPointer(p) && isNull(p) })
	if len(set) == 0 && len(places) > 0 { // its size may be 0 then
		return nil, fmt.Errorf("%s is NULL: %w", places[0].expr, ErrUnset)
	}
	opt := Options{Head: f.head, Link: f.link, Entry: f.entry}
	bytes := uint64(0)
	if f.size != "" {
		if opt.Buckets, bytes, err = r.size(f.size, net); err != nil {
			return nil, err
		}
	}
	var tables []*Table
	for _, at := range set {
		if bytes > 0 {
			opt.Buckets = bytes / uint64(max(at.Type().Strip().Elem().Size(), 1))
		}
		some, err := fromObject(r.k, at.expr, at.Object, opt)
		if err != nil {
			return tables, err
		}
		for _, t := range some {
			t.Name = p.Name + strings.TrimPrefix(t.Name, at.expr)
			if len(places) > 1 {
				t.Name += " " + at.expr
			}
			if p.Net {
				t.Net = net
			}
		}
		tables = append(tables, some...)
	}
	if len(tables) == 1 && f.count != "" {
		r.counter(tables[0], f.count, net)
	}
	return tables, nil
}

func isPointer(p place) bool { return p.Type().Strip().Kind == ctype.Pointer }

func isNull(p place) bool {
	v, err := p.Uint()
	return err == nil && v == 0
}

// size evaluates what tells the number of buckets, or of bytes.
func (r *Reader) size(text string, net uint64) (buckets, bytes uint64, err error) {
	word, rest, _ := strings.Cut(text, " ")
	word += " "
	if word == sizeNumber || word == sizeBytes {
		n, err := strconv.ParseUint(rest, 10, 64)
		if word == sizeBytes {
			return 0, n, err
		}
		return n, 0, err
	}
	places, err := r.variable(rest, net)
	if err != nil {
		return 0, 0, err
	}
	v, err := places[0].Uint()
	if err != nil {
		return 0, 0, err
	}
	switch word {
	case sizeMask:
		v++
	case sizeBits:
		v = 1 << min(v, 63)
	case sizeBits32:
		v = 1 << (32 - min(v, 32))
	}
	if v == 0 || v > maxBuckets {
		return 0, 0, fmt.Errorf("%s: a table of %d buckets cannot be", rest, v)
	}
	return v, 0, nil
}

func (r *Reader) counter(t *Table, variable string, net uint64) {
	places, err := r.variable(variable, net)
	if err != nil {
		return // it is a second opinion only
	}
	if n, err := places[0].Int(); err == nil {
		t.Counter = &n
	}
}
