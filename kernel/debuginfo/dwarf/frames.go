package dwarf

import (
	"cmp"
	"slices"

	"github.com/kmortem/mortem/kernel/ctype"
)

// Frame is a function, or one that was inlined into another, whose code is at
// an address.
type Frame struct {
	Name    string      // of the function, escaped where it is no name in C
	Inlined bool        // into the next frame
	Ranges  []Range     // all its code, or all that was inlined here
	Line    Line        // where the address is in this function, or where it calls the frame before it
	Type    *ctype.Type // of the function

	// FrameBase is the DWARF expression of DW_AT_frame_base; with gcc it is
	// DW_OP_call_frame_cfa. It is that of the function around inlined ones.
	FrameBase []byte
	Locals    []Local // those in scope at the address, as they follow in the debug information
}

// Local is a parameter or local variable that is in scope at an address.
type Local struct {
	Name      string
	Type      *ctype.Type
	Parameter bool // else a local variable
	DeclLine  int  // in the file of the function that it is declared in
	// Location is the DWARF expression for where the variable is at the
	// address; nil where it was optimized away, unless Const is set.
	Location []byte
	// Const is the value of a variable that the compiler knows.
	Const *int64
}

// unitCode is where the functions of a unit are.
type unitCode struct {
	functions []codeRange // ascending by address
}

type codeRange struct {
	Range
	die int // offset in the section
}

// maxRemembered bounds what Frames remembers, in frames, ranges and locals: the
// stacks of one dump share most of their addresses.
const maxRemembered = 1 << 18

// weight is what the frames of an address count in that.
func weight(frames []Frame) int {
	n := 1
	for i := range frames {
		n += 1 + len(frames[i].Ranges) + len(frames[i].Locals)
	}
	return n
}

// Frames returns the functions at a virtual address, as linked, from the
// innermost inlined one outwards; nil where there is no function. They are not
// to be changed. Where they are damaged, those that could be read come with the
// error.
func (d *Data) Frames(addr uint64) (frames []Frame, err error) {
	d.mu.RLock()
	frames, known := d.frames[addr]
	d.mu.RUnlock()
	if known {
		return frames, nil
	}
	frames, err = d.findFrames(addr)
	if err != nil {
		return frames, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := weight(frames)
	if d.remembered += n; d.remembered > maxRemembered {
		clear(d.frames)
		d.remembered = n
	}
	d.frames[addr] = frames
	return frames, nil
}

func (d *Data) findFrames(addr uint64) (frames []Frame, err error) {
	err = d.guard(func() error {
		d.unitsAt(addr, func(u *unit) bool {
			frames, err = d.framesIn(u, addr)
			return len(frames) == 0 && err == nil
		})
		return err
	})
	return frames, err
}

// framesIn finds the frames in one unit.
func (d *Data) framesIn(u *unit, addr uint64) ([]Frame, error) {
	line, _ := d.lineIn(u, addr)
	if u.dwo != 0 {
		if split := d.unitAt(u.dwo); split != nil {
			u = split
		}
	}
	code, err := d.codeOf(u)
	if err != nil {
		return nil, err
	}
	i, _ := slices.BinarySearchFunc(code.functions, addr, func(r codeRange, addr uint64) int {
		if r.Low <= addr {
			return -1
		}
		return 1
	})
	if i == 0 || !code.functions[i-1].contains(addr) {
		return nil, nil
	}
	info, err := d.unitInfo(u)
	if err != nil {
		return nil, err
	}
	w := frameWalk{data: d, info: info, addr: addr, line: line}
	if w.table, err = d.table(u); err != nil {
		return nil, err
	}
	e, err := d.readDIE(u, code.functions[i-1].die, w.table)
	if err != nil {
		return nil, err
	}
	err = w.function(&e, nil)
	return w.frames, err
}

// codeOf makes the table of a unit's functions.
func (d *Data) codeOf(u *unit) (*unitCode, error) {
	d.mu.RLock()
	code := d.codes[u]
	d.mu.RUnlock()
	if code != nil {
		return code, nil
	}
	info, err := d.unitInfo(u)
	if err != nil {
		return nil, err
	}
	table, err := d.table(u)
	if err != nil {
		return nil, err
	}
	code = &unitCode{}
	t, err := d.top(u, table)
	if err != nil {
		return nil, err
	}
	for t.next() && len(code.functions) < maxAllRanges {
		if t.shape.kind != kindFunction || t.shape.declared {
			continue
		}
		e, err := d.readDIE(u, t.start, table)
		if err != nil || e.inline {
			continue
		}
		ranges, _ := d.rangesOf(info, &e)
		if err := d.spend(len(ranges)); err != nil {
			return nil, err
		}
		for _, r := range ranges {
			code.functions = append(code.functions, codeRange{r, t.start})
		}
	}
	slices.SortFunc(code.functions, func(a, b codeRange) int { return cmp.Compare(a.Low, b.Low) })
	d.mu.Lock()
	d.codes[u] = code
	d.mu.Unlock()
	return code, t.err
}

// frameWalk goes down from a function into the blocks and inlined functions
// that cover an address.
type frameWalk struct {
	data   *Data
	info   *unitInfo
	table  *shapes
	addr   uint64
	line   Line
	frames []Frame
	depth  int
	ranges int // that were looked at
}

// maxBlocks bounds how deep blocks and inlined functions nest.
const maxBlocks = 256

// function adds the frame of a function, after those of what is inlined in it.
func (w *frameWalk) function(e *die, frameBase []byte) error {
	d := w.data
	if w.depth++; w.depth > maxBlocks {
		return nil
	}
	f := Frame{Inlined: e.shape.tag == tagInlined, FrameBase: frameBase}
	f.Ranges, _ = d.rangesOf(w.info, e)
	if e.frameBase.class == classBlock {
		f.FrameBase = e.frameBase.block
	}
	origin := d.origin(e)
	f.Name = d.space.show(origin.name)
	f.Type = d.typeAt(origin.place())
	if err := w.block(e, &f); err != nil {
		return err
	}
	f.Line = w.line // that of the address, or where what is inlined here was called
	w.frames = append(w.frames, f)
	if f.Inlined {
		w.line = w.callLine(e)
	}
	return nil
}

// callLine is where an inlined function was called.
func (w *frameWalk) callLine(e *die) Line {
	line := Line{Line: int(e.callLine)}
	if t, err := w.data.linesOf(w.info); err == nil {
		line.File = t.file(e.callFile)
	}
	return line
}

// block collects the variables of a function or block, and goes into what it
// has at the address.
func (w *frameWalk) block(e *die, f *Frame) error {
	var inner error
	err := w.data.children(e, w.table, func(c *die) bool {
		switch c.shape.tag {
		case tagFormalParameter, tagVariable:
			if local, ok := w.local(c); ok {
				f.Locals = append(f.Locals, local)
			}
		case tagLexicalBlock:
			if w.depth < maxBlocks && w.covers(c) {
				w.depth++
				inner = w.block(c, f)
			}
		case tagInlined:
			if w.covers(c) {
				inner = w.function(c, f.FrameBase)
			}
		}
		return inner == nil
	})
	return cmp.Or(inner, err)
}

func (w *frameWalk) covers(e *die) bool {
	if w.ranges > maxAllRanges {
		return false
	}
	ranges, _ := w.data.rangesOf(w.info, e)
	w.ranges += len(ranges)
	return slices.ContainsFunc(ranges, func(r Range) bool { return r.contains(w.addr) })
}

// local decodes a parameter or variable.
func (w *frameWalk) local(e *die) (Local, bool) {
	d := w.data
	origin := d.origin(e)
	if origin.name == 0 || origin.declared {
		return Local{}, false
	}
	local := Local{Name: d.space.show(origin.name), Type: d.typeOf(&origin), Parameter: e.shape.tag == tagFormalParameter, DeclLine: int(origin.line)}
	value := e.constValue
	if value.class == classNone {
		value = origin.constValue
	}
	if value.class == classConstant || value.class == classSigned {
		n := int64(value.u)
		local.Const = &n
	}
	local.Location = d.locationAt(w.info, e.location, w.addr)
	return local, true
}

// origin follows DW_AT_abstract_origin and DW_AT_specification to the DIE that
// has the name and the type.
func (d *Data) origin(e *die) die {
	origin := *e
	for range maxHops {
		if origin.name != 0 || origin.specification == 0 {
			break
		}
		next, _, err := d.dieAt(origin.specification)
		if err != nil {
			break
		}
		origin = next
	}
	return origin
}
