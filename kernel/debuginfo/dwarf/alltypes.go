package dwarf

import (
	"slices"

	"github.com/kmortem/mortem/kernel/ctype"
)

// AllTypes returns all different types of a name, for files can have structs
// of their own that share it; the one that Type returns comes first. It finds
// those inside of functions too, which Type does not. It goes through all
// units, which takes longer than making the index.
func (d *Data) AllTypes(kind ctype.Kind, name string) []*ctype.Type {
	want := kindOfType(kind)
	walkers, _ := d.scan(func(w *walker, u *unit) error { return w.matching(u, want, name) })
	var places []place
	for _, w := range walkers {
		places = append(places, w.places...)
	}
	slices.Sort(places)
	var list []*ctype.Type
	if first := d.named(want, name); first != nil {
		list = append(list, first)
	}
	_ = d.guard(func() error {
		for _, p := range places {
			if t := d.typeAt(p); !slices.ContainsFunc(list, func(o *ctype.Type) bool { return t == o || d.alike(t, o) }) {
				list = append(list, t)
			}
		}
		return nil
	})
	return list
}

// matching notes the definitions of a name in one unit.
func (w *walker) matching(u *unit, want nameKind, name string) error {
	t, err := w.open(u)
	if err != nil || u.language == langRust {
		return err
	}
	t.deep = true
	for t.next() {
		s := t.shape
		if s.kind != want || s.nameForm == 0 || s.slow || s.quality(u, &t.at) == declaration {
			continue
		}
		c := cursor{data: u.data, off: t.at[capName]}
		if p, _ := readString(&c, uint64(s.nameForm), u); p != 0 && string(w.data.space.name(p)) == name {
			w.places = append(w.places, u.place(t.start))
		}
	}
	return t.err
}

// alike tells whether two types of one name look the same: size and members,
// or what they stand for.
func (d *Data) alike(a, b *ctype.Type) bool {
	if a.Kind != b.Kind || a.Size() != b.Size() || a.Incomplete != b.Incomplete {
		return false
	}
	if a.Kind == ctype.Typedef {
		return a.Elem().String() == b.Elem().String()
	}
	return slices.EqualFunc(a.Members(), b.Members(), func(x, y ctype.Member) bool {
		return x.Name == y.Name && x.Offset == y.Offset && x.BitOffset == y.BitOffset && x.BitSize == y.BitSize && x.Type.Size() == y.Type.Size()
	}) && slices.Equal(a.Enumerators(), b.Enumerators())
}
