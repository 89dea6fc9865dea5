package dwarf

// Line is a place in the source.
type Line struct {
	File   string // relative to the directory of compilation where it is below it; empty if unknown
	Line   int    // 0 for code that the compiler made up
	Column int    // 0 if unknown, as in kernels built with -gno-column-info
}

type lineKey struct {
	file   *file
	offset uint64
}

// linesOf returns the line table of a unit.
func (d *Data) linesOf(info *unitInfo) (*lineTable, error) {
	if info.stmtList.class != classOffset && info.stmtList.class != classConstant {
		return &lineTable{}, nil
	}
	u := info.unit
	if u.skeleton != 0 {
		u = d.unitAt(u.skeleton)
	}
	key := lineKey{u.file, info.stmtList.u}
	if t := d.cachedLines(key); t != nil {
		return t, t.err
	}
	d.linesMu.Lock()
	defer d.linesMu.Unlock()
	if t := d.cachedLines(key); t != nil {
		return t, t.err
	}
	if d.lineBudgets[u.file] == nil {
		d.lineBudgets[u.file] = newLineBudget(u.file)
	}
	t, err := d.readLines(u, info.stmtList.u, info.compDir, d.lineBudgets[u.file])
	if err != nil {
		t = &lineTable{err: err}
	}
	d.mu.Lock()
	d.lines[key] = t
	d.mu.Unlock()
	return t, err
}

func (d *Data) cachedLines(key lineKey) *lineTable {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.lines[key]
}

// Line returns the source line of the instruction at a virtual address, as
// linked: where functions are inlined, the line in the innermost one. For a
// return address the caller wants the line of the byte before it.
func (d *Data) Line(addr uint64) (line Line, ok bool) {
	_ = d.guard(func() error {
		d.unitsAt(addr, func(u *unit) bool {
			line, ok = d.lineIn(u, addr)
			return !ok
		})
		return nil
	})
	return line, ok
}

func (d *Data) lineIn(u *unit, addr uint64) (Line, bool) {
	info, err := d.unitInfo(u)
	if err != nil {
		return Line{}, false
	}
	t, err := d.linesOf(info)
	if err != nil {
		return Line{}, false
	}
	r := t.find(addr)
	if r == nil {
		return Line{}, false
	}
	return Line{File: t.file(uint32(r.file)), Line: int(r.line), Column: int(r.column)}, true
}

// file returns a file's name by its number.
func (t *lineTable) file(n uint32) string {
	if n >= uint32(len(t.files)) {
		return ""
	}
	return t.files[n]
}

// LineRow is one row of the line table of a whole kernel.
type LineRow struct {
	Addr uint64 // virtual, as linked
	File string // empty together with line 0: no code from here on
	Line int
}

// EachLineTable calls visit with the rows of each unit's line table, ascending
// by address, until it returns false. It keeps nothing in memory. Errors are
// those of damaged tables.
func (d *Data) EachLineTable(visit func(rows []LineRow) bool) error {
	seen := map[lineKey]bool{}
	budgets := map[*file]*lineBudget{}
	for i := range d.units {
		u := &d.units[i]
		if u.kind != utCompile && u.kind != utSkeleton || u.skeleton != 0 {
			continue
		}
		var rows []LineRow
		err := d.guard(func() error {
			info, err := d.unitInfo(u)
			if err != nil || info.stmtList.class == classNone || seen[lineKey{u.file, info.stmtList.u}] {
				return err
			}
			seen[lineKey{u.file, info.stmtList.u}] = true
			if budgets[u.file] == nil {
				budgets[u.file] = newLineBudget(u.file)
			}
			t, err := d.readLines(u, info.stmtList.u, info.compDir, budgets[u.file])
			if err != nil {
				return err
			}
			for _, r := range t.rows {
				row := LineRow{Addr: r.addr}
				if !r.end {
					row.File, row.Line = t.file(uint32(r.file)), int(r.line)
				}
				rows = append(rows, row)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(rows) > 0 && !visit(rows) {
			return nil
		}
	}
	return nil
}
