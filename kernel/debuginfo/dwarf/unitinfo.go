package dwarf

import "fmt"

// unitInfo is what a unit's own DIE says about its code.
type unitInfo struct {
	unit *unit
	root die
	low  uint64 // DW_AT_low_pc, from which lists count

	addr         []byte // .debug_addr
	file         *file  // that has .debug_ranges: of version 4, the skeleton's
	addrBase     uint64
	rangesBase   uint64 // GNU split DWARF 4
	rnglistsBase uint64
	loclistsBase uint64
	compDir      string
	stmtList     value
}

// unitInfo decodes the unit's own DIE; for a split unit the skeleton's too,
// which has the addresses (DWARF 5, 3.1.3).
func (d *Data) unitInfo(u *unit) (*unitInfo, error) {
	d.mu.RLock()
	info := d.infos[u]
	d.mu.RUnlock()
	if info != nil {
		return info, nil
	}
	table, err := d.table(u)
	if err != nil {
		return nil, err
	}
	root, err := d.readDIE(u, int(u.die), table)
	if err != nil {
		return nil, err
	}
	info = &unitInfo{unit: u, root: root, addr: u.file.Addr, file: u.file, addrBase: root.addrBase.u, rnglistsBase: root.rnglistsBase.u, loclistsBase: root.loclistsBase.u}
	info.compDir, info.stmtList = d.space.string(root.compDir), root.stmtList
	if u.skeleton != 0 {
		if err := d.fromSkeleton(info); err != nil {
			return nil, err
		}
	}
	info.low, _ = info.address(info.root.lowPC)
	d.mu.Lock()
	d.infos[u] = info
	d.mu.Unlock()
	return info, nil
}

// fromSkeleton takes over what only the skeleton of a split unit has. The
// lists of version 5 have their table right behind the section's header.
func (d *Data) fromSkeleton(info *unitInfo) error {
	u := d.unitAt(info.unit.skeleton)
	if u == nil || u.skeleton != 0 {
		return fmt.Errorf("%s: its skeleton is not found", info.unit.file.File)
	}
	skeleton, err := d.unitInfo(u)
	if err != nil {
		return err
	}
	info.file = skeleton.unit.file
	info.addr, info.addrBase, info.rangesBase = skeleton.addr, skeleton.addrBase, skeleton.root.rangesBase.u
	info.root.lowPC, info.root.highPC, info.root.ranges = skeleton.root.lowPC, skeleton.root.highPC, skeleton.root.ranges
	info.compDir, info.stmtList = skeleton.compDir, skeleton.stmtList
	if info.unit.version == 5 {
		info.rnglistsBase, info.loclistsBase = listsHeader, listsHeader
	}
	return nil
}

// listsHeader is the size of the header of .debug_rnglists and .debug_loclists
// in the 32-bit format (DWARF 5, 7.28).
const listsHeader = 12

// address returns an address that is given in place or by number.
func (i *unitInfo) address(v value) (uint64, bool) {
	switch v.class {
	case classAddress:
		return v.u, true
	case classIndex:
		return i.indexed(v.u), true
	}
	return 0, false
}

// indexed returns an address by its number in .debug_addr, 0 where that is
// outside.
func (i *unitInfo) indexed(n uint64) uint64 {
	if n > uint64(len(i.addr)) || i.addrBase > uint64(len(i.addr)) {
		return 0
	}
	c := cursor{data: i.addr}
	c.skip(i.addrBase + n*uint64(i.unit.addrSize))
	return c.uint(int(i.unit.addrSize))
}
