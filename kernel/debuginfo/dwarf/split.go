package dwarf

import "fmt"

// addSplit opens the files that skeleton units refer to (DWARF 5, 3.1.2; in
// version 4 a GNU extension) and adds their units.
func (d *Data) addSplit(open func(name, compDir string) (Sections, error)) {
	for i := range len(d.units) {
		u := &d.units[i]
		if u.file != d.main || !u.maySplit() {
			continue
		}
		d.note(d.addDwo(i, open))
	}
}

// maySplit tells whether the unit can be a skeleton: in DWARF 4, where that is
// known from its attributes only, .debug_addr is there for skeletons alone.
func (u *unit) maySplit() bool {
	return u.kind == utSkeleton || u.version == 4 && len(u.file.Addr) > 0 && u.kind == utCompile
}

// addDwo adds the split unit of the i-th unit.
func (d *Data) addDwo(i int, open func(name, compDir string) (Sections, error)) error {
	u := &d.units[i]
	table, err := d.table(u)
	if err != nil {
		return err
	}
	root, err := d.readDIE(u, int(u.die), table)
	if err != nil {
		return err
	}
	u.root(&root)
	if root, err = d.readDIE(u, int(u.die), table); err != nil { // again, now that strings can be found by index
		return err
	}
	name := d.space.string(root.dwoName)
	if name == "" {
		return nil
	}
	sections, err := open(name, d.space.string(root.compDir))
	if err != nil {
		return err
	}
	id := u.signature
	if u.version < 5 {
		id = root.dwoID
	}
	d.split = true
	first := len(d.units)
	f := d.space.addFile(sections, nil)
	d.budget.left.Add(16 * int64(len(f.Abbrev)))
	d.addUnitsOf(f)
	for j := first; j < len(d.units); j++ {
		dwo := &d.units[j]
		if dwo.kind == utSplitCompile && dwo.signature != id {
			d.units = d.units[:first]
			return fmt.Errorf("%s: belongs to another build: it has the id %#x where %#x is needed", sections.File, dwo.signature, id)
		}
		if dwo.kind == utSplitCompile || dwo.kind == utCompile {
			dwo.skeleton = d.units[i].place(int(d.units[i].die))
			d.units[i].dwo = dwo.place(int(dwo.die))
		}
	}
	return nil
}
