package dwarf

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/kmortem/mortem/kernel/cstr"
)

// row is one row of a line table: the code from addr on, up to the next row,
// comes from a line.
type row struct {
	addr   uint64
	line   uint32
	file   uint16
	column uint16
	end    bool // no code from here on
}

// lineTable is the line number program of one unit, run.
type lineTable struct {
	files []string // by the numbers that DW_AT_decl_file and the like use
	rows  []row    // ascending by address
	err   error    // why there are none
}

// lineHeader is the header of a line number program (DWARF 5, 6.2.4).
type lineHeader struct {
	version    uint16
	minLength  uint8
	maxOps     uint8
	lineBase   int8
	lineRange  uint8
	opcodeBase uint8
	lengths    []byte // number of arguments of each standard opcode
	files      []string
	room       int // bytes that the paths may yet have
	program    cursor
}

var errLines = errors.New("line number program is damaged")

// lineBudget is how many bytes of headers and programs may yet be read. In sound
// files each byte belongs to one unit's; in forged ones they can overlap.
type lineBudget struct{ left int }

func newLineBudget(f *file) *lineBudget { return &lineBudget{2*len(f.code().Line) + 1<<16} }

// readLines runs the program at an offset of .debug_line.
func (d *Data) readLines(u *unit, offset uint64, compDir string, budget *lineBudget) (*lineTable, error) {
	h, err := d.lineHeader(u, offset, compDir, budget)
	if err != nil {
		return nil, fmt.Errorf("%s: .debug_line+%#x: %w", u.file.File, offset, err)
	}
	t := &lineTable{files: h.files}
	t.run(h)
	slices.SortStableFunc(t.rows, func(a, b row) int {
		switch {
		case a.addr != b.addr:
			if a.addr < b.addr {
				return -1
			}
			return 1
		case a.end != b.end: // the end of one sequence comes before the start of the next
			if a.end {
				return -1
			}
			return 1
		}
		return 0
	})
	return t, nil
}

// lineHeader reads the header and the tables of directories and files.
func (d *Data) lineHeader(u *unit, offset uint64, compDir string, budget *lineBudget) (*lineHeader, error) {
	c := cursor{data: u.file.code().Line}
	c.skip(offset)
	length, size := uint64(c.u32()), uint8(4)
	if length == 0xffffffff {
		length, size = c.u64(), 8
	}
	if c.bad || length > uint64(len(c.data)-c.off) {
		return nil, errLines
	}
	if budget.left -= int(length); budget.left < 0 {
		return nil, fmt.Errorf("%w: it overlaps with too many others", errLines)
	}
	c.data = c.data[:c.off+int(length)]
	h := &lineHeader{version: c.u16(), room: pathRatio*int(length) + 4*maxPath}
	if h.version < 2 || h.version > 5 {
		return nil, fmt.Errorf("%w: version %d", errLines, h.version)
	}
	forms := unit{file: u.file, base: 0, version: u.version, addrSize: u.addrSize, offsetSize: size, strOffsets: u.strOffsets}
	if h.version == 5 {
		forms.addrSize = c.u8()
		c.u8() // size of segment selectors
	}
	headerLength := c.uint(int(size))
	h.program = cursor{data: c.data, off: c.off}
	h.program.skip(headerLength)
	h.minLength, h.maxOps = c.u8(), 1
	if h.version >= 4 {
		h.maxOps = c.u8()
	}
	c.u8() // whether rows begin a statement
	h.lineBase, h.lineRange, h.opcodeBase = int8(c.u8()), c.u8(), c.u8()
	if h.opcodeBase == 0 || h.lineRange == 0 {
		return nil, errLines
	}
	h.lengths = c.bytes(uint64(h.opcodeBase) - 1)
	if h.version == 5 {
		h.readFiles5(d, &c, &forms)
	} else {
		h.readFiles2(&c, compDir)
	}
	if c.bad || h.program.bad {
		return nil, errLines
	}
	return h, nil
}

// readFiles2 reads the tables of versions 2 to 4. File 0 is nothing, directory
// 0 is that of the compilation, from which paths are relative.
func (h *lineHeader) readFiles2(c *cursor, compDir string) {
	text := func() string {
		start := c.off
		c.skipString()
		if c.bad || c.off == start+1 {
			return ""
		}
		return string(c.data[start : c.off-1])
	}
	dirs := []string{""}
	for s := text(); s != ""; s = text() {
		dirs = append(dirs, relative(s, compDir))
	}
	h.files = []string{""}
	for s := text(); s != "" && len(h.files) < 1<<16; s = text() {
		dir := c.uleb()
		c.skipLeb()
		c.skipLeb()
		h.addFile(c, dirs, dir, s)
	}
}

// The bounds on paths: each of a few bytes can stand for a long one, for directories
// and in version 5 strings are shared.
const (
	maxPath   = 4096 // PATH_MAX
	pathRatio = 64   // bytes of paths for each one of the table
)

// addFile enters a file, whose path begins with that of its directory.
func (h *lineHeader) addFile(c *cursor, dirs []string, dir uint64, name string) {
	parent := ""
	if dir < uint64(len(dirs)) {
		parent = dirs[dir]
	}
	if h.room -= len(parent) + len(name); h.room < 0 {
		c.fail()
		return
	}
	h.files = append(h.files, cstr.Path(joinPath(parent, name)))
}

// readFiles5 reads the tables of version 5, which describe themselves.
// Directory 0 is that of the compilation.
func (h *lineHeader) readFiles5(d *Data, c *cursor, forms *unit) {
	var dirs []string
	h.entries(d, c, forms, func(name string, _ uint64) {
		if len(dirs) > 0 {
			name = relative(name, dirs[0])
		}
		dirs = append(dirs, name)
	})
	if len(dirs) > 0 {
		dirs[0] = ""
	}
	h.entries(d, c, forms, func(name string, dir uint64) { h.addFile(c, dirs, dir, name) })
}

// entries reads one table: the formats of its columns, then the entries.
func (h *lineHeader) entries(d *Data, c *cursor, forms *unit, visit func(name string, dir uint64)) {
	const contentPath, contentDirectory = 1, 2
	type column struct{ content, form uint64 }
	columns := make([]column, c.u8())
	for i := range columns {
		columns[i] = column{c.uleb(), c.uleb()}
	}
	n := c.uleb()
	if n > 1<<16 || n > uint64(len(c.data)-c.off) || n > 0 && len(columns) == 0 {
		c.fail()
		return
	}
	for range n {
		name, dir := "", uint64(0)
		for _, col := range columns {
			v := readLineValue(d, c, col.form, forms)
			if h.room -= len(v.text); h.room < 0 {
				c.fail()
			}
			switch col.content {
			case contentPath:
				name = v.text
			case contentDirectory:
				dir = v.number
			}
		}
		if c.bad {
			return
		}
		visit(name, dir)
	}
}

type lineValue struct {
	text   string
	number uint64
}

// readLineValue reads a value of a line header, whose strings can be in place:
// in .debug_line, which has no places of its own.
func readLineValue(d *Data, c *cursor, form uint64, forms *unit) lineValue {
	if form == formString {
		start := c.off
		c.skipString()
		if c.bad {
			return lineValue{}
		}
		return lineValue{text: string(c.data[start : c.off-1])}
	}
	v := readValue(c, form, 0, forms)
	return lineValue{text: d.space.string(v.string()), number: v.u}
}

// relative shortens a path below the directory of compilation.
func relative(name, compDir string) string {
	if compDir != "" && len(name) > len(compDir) && name[:len(compDir)] == compDir && name[len(compDir)] == '/' {
		return name[len(compDir)+1:]
	}
	if name == compDir {
		return ""
	}
	return name
}

func joinPath(dir, name string) string {
	if dir == "" || path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}

// Opcodes of line number programs, DWARF 5, 6.2.5.
const (
	lnsCopy           = 1
	lnsAdvancePC      = 2
	lnsAdvanceLine    = 3
	lnsSetFile        = 4
	lnsSetColumn      = 5
	lnsNegateStmt     = 6
	lnsSetBasicBlock  = 7
	lnsConstAddPC     = 8
	lnsFixedAdvancePC = 9
	lneEndSequence    = 1
	lneSetAddress     = 2
)

// lineState is the registers of the machine that runs a program.
type lineState struct {
	addr, opIndex uint64
	line          int64
	file, column  uint64
}

// run executes the program; damage ends it, and what there is is kept.
func (t *lineTable) run(h *lineHeader) {
	start := lineState{line: 1, file: 1}
	s := start
	c := h.program
	for c.more() {
		op := c.u8()
		switch {
		case op >= h.opcodeBase:
			adjusted := op - h.opcodeBase
			s.advance(h, uint64(adjusted/h.lineRange))
			s.line += int64(h.lineBase) + int64(adjusted%h.lineRange)
			t.emit(&s, false)
		case op == 0:
			if t.extended(&c, &s) {
				s = start
			}
		default:
			t.standard(&c, &s, h, op)
		}
	}
}

// advance moves the address by a number of operations (DWARF 5, 6.2.5.1).
func (s *lineState) advance(h *lineHeader, n uint64) {
	if h.maxOps <= 1 {
		s.addr += n * uint64(h.minLength)
		return
	}
	n += s.opIndex
	s.addr += n / uint64(h.maxOps) * uint64(h.minLength)
	s.opIndex = n % uint64(h.maxOps)
}

func (t *lineTable) standard(c *cursor, s *lineState, h *lineHeader, op uint8) {
	switch op {
	case lnsCopy:
		t.emit(s, false)
	case lnsAdvancePC:
		s.advance(h, c.uleb())
	case lnsAdvanceLine:
		s.line += c.sleb()
	case lnsSetFile:
		s.file = c.uleb()
	case lnsSetColumn:
		s.column = c.uleb()
	case lnsConstAddPC:
		s.advance(h, uint64((255-h.opcodeBase)/h.lineRange))
	case lnsFixedAdvancePC:
		s.addr += uint64(c.u16())
		s.opIndex = 0
	default: // known ones without effect here, and unknown ones
		for range h.lengths[op-1] {
			c.skipLeb()
		}
	}
}

// extended runs an extended opcode and tells whether it ended a sequence.
func (t *lineTable) extended(c *cursor, s *lineState) bool {
	body := cursor{data: c.bytes(c.uleb())}
	switch body.u8() {
	case lneEndSequence:
		t.emit(s, true)
		return true
	case lneSetAddress:
		s.addr, s.opIndex = body.uint(len(body.data)-1), 0
	}
	return false
}

// emit adds a row, in place of the one before where that has no code.
func (t *lineTable) emit(s *lineState, end bool) {
	r := row{addr: s.addr, line: uint32(min(max(s.line, 0), 1<<31)), file: uint16(min(s.file, 1<<16-1)), column: uint16(min(s.column, 1<<16-1)), end: end}
	if last := len(t.rows) - 1; last >= 0 && t.rows[last].addr == r.addr && !t.rows[last].end {
		t.rows[last] = r
		return
	}
	t.rows = append(t.rows, r)
}

// find returns the row that an address belongs to, nil where there is none.
func (t *lineTable) find(addr uint64) *row {
	i, found := slices.BinarySearchFunc(t.rows, addr, func(r row, addr uint64) int {
		switch {
		case r.addr < addr:
			return -1
		case r.addr > addr:
			return 1
		}
		return 0
	})
	for found && i+1 < len(t.rows) && t.rows[i+1].addr == addr {
		i++
	}
	if !found {
		i--
	}
	if i < 0 || t.rows[i].end {
		return nil
	}
	return &t.rows[i]
}
