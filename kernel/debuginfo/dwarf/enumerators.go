package dwarf

import (
	"iter"

	"github.com/kmortem/mortem/kernel/ctype"
)

// Enumerator finds a constant of any enum by name, and the enum. The first
// call makes an index of all constants.
func (d *Data) Enumerator(name string) (value int64, t *ctype.Type, ok bool) {
	d.enumOnce.Do(d.indexEnumerators)
	_ = d.guard(func() error {
		e, found := d.enumerators.lookup(kindEnumerator, name)
		if !found {
			return nil
		}
		t = d.typeAt(e.die)
		for _, constant := range t.Enumerators() {
			if constant.Name == name {
				value, ok = constant.Value, true
			}
		}
		return nil
	})
	return value, t, ok
}

// Enumerators goes over the names of the constants of all enums, in no
// particular order.
func (d *Data) Enumerators() iter.Seq[string] {
	d.enumOnce.Do(d.indexEnumerators)
	return func(yield func(string) bool) {
		for e := range d.enumerators.all() {
			if !yield(d.nameOf(e)) {
				return
			}
		}
	}
}

// indexEnumerators gets the index of constants from the store, or makes it.
func (d *Data) indexEnumerators() {
	if d.store != nil {
		if x := d.openIndex(d.store.Load("constants")); x != nil {
			d.enumerators = x
			return
		}
	}
	d.enumerators, _ = d.scanNames((*walker).enums)
	if d.store != nil && d.Damage() == nil && !d.split {
		d.store.Save("constants", d.encodeIndex(d.enumerators, nil))
	}
}

// enums enters the constants of the enums in one unit. An enum from a header,
// whose constants were met before, is passed over.
func (w *walker) enums(u *unit) error {
	t, err := w.open(u)
	if err != nil || u.language == langRust {
		return err
	}
	for t.next() {
		if t.shape.kind != kindEnum || !t.shape.children {
			continue
		}
		sum := t.fingerprint()
		if _, met := w.seen.get(kindEnumerator, sum); met {
			continue
		}
		w.seen.put(kindEnumerator, sum, 0)
		w.constants(u, t.start)
	}
	return t.err
}

// fingerprint is a hash over the children of an enum, in 60 bits. It leaves
// out the abbreviation codes, which differ between units.
func (t *top) fingerprint() place {
	const prime = 0x9e3779b97f4a7c15
	sum := uint64(prime)
	c := t.c
	for c.more() {
		s := t.table.get(c.uleb())
		if s == nil || s.children {
			break
		}
		start := c.off
		if s.size >= 0 {
			c.skip(uint64(s.size))
		} else {
			var at [captures]int
			t.table.walk(&c, s, t.unit, &at)
		}
		for _, b := range c.data[start:c.off] {
			sum = (sum ^ uint64(b)) * prime
			sum ^= sum >> 29
		}
	}
	return place(sum>>4 | 1)
}

// constants enters the constants of one enum; they lead to the enum.
func (w *walker) constants(u *unit, start int) {
	enum, err := w.data.readDIE(u, start, &w.table)
	if err != nil {
		return
	}
	_ = w.data.children(&enum, &w.table, func(c *die) bool {
		if c.shape.tag == tagEnumerator {
			if text := w.data.space.name(c.name); len(text) > 0 {
				w.names.add(entry{c.name, u.place(start), hashName(kindEnumerator, text), kindEnumerator, definition}, text)
			}
		}
		return true
	})
}
