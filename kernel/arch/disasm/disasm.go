// Package disasm answers what instructions a function of a dumped kernel consists
// of, as they were in memory.
package disasm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/archs"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/module"
)

// Options say what to tell of the instructions.
type Options struct {
	Lines bool // the source line of each
	Whole bool // the function to its end, where an address in it was asked for
	Bytes bool // the bytes of each
	Limit int  // on the number of instructions; 0 means 100,000, negative all
}

const defaultLimit = 100000

// Report is the answer.
type Report struct {
	Function     string          `json:"function"`
	Module       string          `json:"module,omitempty"`
	Start        kernel.Addr     `json:"start"`             // virtual address of the function
	Size         uint64          `json:"size"`              // of the function in bytes
	Address      kernel.Addr     `json:"address,omitempty"` // that was asked for
	Instructions []Instruction   `json:"instructions"`
	More         bool            `json:"more,omitempty"`    // there are more than the limit
	Missing      string          `json:"missing,omitempty"` // why there are no source lines
	Coverage     kernel.Coverage `json:"coverage"`          // of instructions
}

// Instruction is one instruction.
type Instruction struct {
	Addr   kernel.Addr `json:"addr"`
	Offset uint64      `json:"offset"` // in the function, in bytes
	Bytes  string      `json:"bytes,omitempty"`
	Text   string      `json:"text"`             // in the GNU assembler's spelling
	Target string      `json:"target,omitempty"` // what it calls or jumps to outside of the function
	Refers string      `json:"refers,omitempty"` // the variable that it names
	File   string      `json:"file,omitempty"`
	Line   int         `json:"line,omitempty"`
}

// ErrArch: instructions of the dump's architecture cannot be decoded.
var ErrArch = archs.ErrUnknown

// ErrData: what lies there is not code.
var ErrData = errors.New("is a variable, not a function")

// maxFunction bounds the code that is read for one function, in bytes.
const maxFunction = 4 << 20

// Disassemble decodes a function given by name, or the part of one up to an
// address, given as a number or as function+offset. It makes the kernel name
// addresses in modules (module.Attach). The error wraps ErrArch, ErrData for
// what is no code, kernel.ErrNotFound for a name that is not known, or one of
// reading.
func Disassemble(k *kernel.Kernel, place string, opt Options) (*Report, error) {
	decoder, err := archs.Of(k.Image().Facts().Arch)
	if err != nil {
		return nil, err
	}
	d := disassembler{k: k, decoder: decoder, opt: opt}
	switch {
	case d.opt.Limit < 0:
		d.opt.Limit = maxFunction // none is shorter than a byte
	case d.opt.Limit == 0:
		d.opt.Limit = defaultLimit
	}
	if k.HasSymbol("modules") {
		d.modules, _ = module.Attach(k) // without them, the kernel image is still there
	}
	r, err := d.find(place)
	if err != nil {
		return nil, err
	}
	if opt.Lines {
		d.findLines(r)
	}
	r.Coverage = k.NewCoverage()
	return r, d.decode(r)
}

type disassembler struct {
	k       *kernel.Kernel
	modules *module.Table
	code    kernel.Code
	lines   debuginfo.Lines // of the code, nil without
	decoder arch.Decoder
	opt     Options
}

// findLines finds the source lines of the function, or says why there are none.
func (d *disassembler) findLines(r *Report) {
	var ok bool
	if d.code, ok = d.k.CodeAt(uint64(r.Start)); !ok {
		r.Missing = "no debug information of module " + r.Module
		return
	}
	var err error
	if d.lines, err = d.code.Lines(); err != nil {
		r.Missing = err.Error()
	}
}

// find finds the function that a place is in.
func (d *disassembler) find(place string) (*Report, error) {
	name, offset, given := strings.Cut(place, "+")
	addr, err := strconv.ParseUint(name, 0, 64)
	named := err != nil
	if named {
		if addr, err = d.symbol(name); err != nil {
			return nil, err
		}
	}
	if given {
		n, err := strconv.ParseUint(offset, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no function+offset", place)
		}
		if f, err := d.around(addr); named && err == nil && f.Size > 0 && n >= f.Size && uint64(f.Start) == addr {
			return nil, fmt.Errorf("%s: %w; %s has %#x bytes", place, kernel.ErrNotFound, name, f.Size)
		}
		addr += n
	}
	r, err := d.around(addr)
	if err != nil {
		return nil, err
	}
	if !named || given {
		r.Address = kernel.Addr(addr)
	} else if r.Start == kernel.Addr(addr) {
		r.Function = name // and not another name of the same address
	}
	return r, nil
}

func (d *disassembler) symbol(name string) (uint64, error) {
	addr, err := d.k.Symbol(name)
	if err == nil {
		return addr, nil
	}
	if d.modules != nil {
		if sym, _, ok := d.modules.Lookup(name); ok {
			return sym.Addr, nil
		}
	}
	return 0, err
}

func (d *disassembler) around(addr uint64) (*Report, error) {
	if sym, _, ok := d.k.SymbolAt(addr); ok {
		if sym.Kind == debuginfo.SymbolData {
			return nil, fmt.Errorf("%s at %#x %w", sym.Name, sym.Addr, ErrData)
		}
		return &Report{Function: sym.Name, Start: kernel.Addr(sym.Addr), Size: sym.Size}, nil
	}
	if d.modules != nil {
		if sym, mod, ok := d.modules.SymbolAt(addr); ok {
			return &Report{Function: sym.Name, Module: mod, Start: kernel.Addr(sym.Addr), Size: sym.Size}, nil
		}
	}
	return nil, fmt.Errorf("a function at %#x: %w", addr, kernel.ErrNotFound)
}

// unsized is how much is decoded of a function whose size is not known.
const unsized = 256

func (d *disassembler) decode(r *Report) error {
	size := r.Size
	if size == 0 {
		size = max(unsized, uint64(r.Address-min(r.Address, r.Start))+16)
	}
	text := make([]byte, min(size, maxFunction))
	n, err := d.k.Read(text, uint64(r.Start))
	if err != nil {
		r.Coverage.Fail(err)
		if n == 0 {
			return fmt.Errorf("code of %s: %w", r.Function, err)
		}
	}
	text = text[:n]
	for off := 0; off < len(text); {
		addr := uint64(r.Start) + uint64(off)
		if r.Address != 0 && !d.opt.Whole && addr > uint64(r.Address) {
			break
		}
		if len(r.Instructions) == d.opt.Limit {
			r.More = true
			break
		}
		in, err := d.decoder.Decode(text[off:], addr, d.name)
		if err != nil {
			in.Text = "(bad)"
		}
		in.Len = min(in.Len, len(text)-off)
		r.Instructions = append(r.Instructions, d.describe(r, &in, text[off:off+in.Len]))
		r.Coverage.Read++
		off += in.Len
	}
	return nil
}

func (d *disassembler) describe(r *Report, in *arch.Instruction, bytes []byte) Instruction {
	i := Instruction{Addr: kernel.Addr(in.Addr), Offset: in.Addr - uint64(r.Start), Text: in.Text}
	if d.opt.Bytes {
		i.Bytes = fmt.Sprintf("%x", bytes)
	}
	if in.Target != 0 && (in.Target < uint64(r.Start) || in.Target-uint64(r.Start) >= r.Size) {
		i.Target = d.name(in.Target)
	}
	if in.Refers != 0 {
		i.Refers = d.data(in.Refers)
	}
	if in.HasPerCPU {
		i.Refers = d.perCPU(in.PerCPU)
	}
	if d.lines != nil {
		if link, ok := d.code.Link(in.Addr); ok {
			line, _ := d.lines.Line(link)
			i.File, i.Line = line.File, line.Line
		}
	}
	return i
}

// name names an address, "" where no symbol is known.
func (d *disassembler) name(addr uint64) string {
	s := d.k.SymbolName(addr)
	if strings.HasPrefix(s, "0x") {
		return ""
	}
	name, size, ok := strings.Cut(s, "/")
	if ok {
		if _, mod, in := strings.Cut(size, " "); in {
			name += " " + mod
		}
	}
	return name
}

// far is how far behind a symbol an address is no longer named by it: there lie
// string literals, which have no names.
const far = 4096

// data names the address of a variable, "" where no symbol is near.
func (d *disassembler) data(addr uint64) string {
	if _, offset, ok := d.k.SymbolAt(addr); ok && offset >= far {
		return ""
	}
	return d.name(addr)
}

// perCPU names an offset in the processors' own areas.
func (d *disassembler) perCPU(offset uint64) string {
	sym, ok := d.k.Info().Symbols().Containing(offset)
	if !ok || sym.Kind == debuginfo.SymbolText || sym.Size == 0 {
		return ""
	}
	if sym.Addr == offset {
		return sym.Name
	}
	return fmt.Sprintf("%s+%#x", sym.Name, offset-sym.Addr)
}
