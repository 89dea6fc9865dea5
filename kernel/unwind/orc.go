package unwind

import (
	"sync"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/module"
)

// orc unwinds by the kernel's own tables.
type orc struct {
	k       *kernel.Kernel
	modules *module.Table
	form    orcForm
	image   *orcTable
	fields  orcModule
	hasMods bool

	mu    sync.Mutex
	byMod map[uint64]*orcTable // by the address of the struct module; nil where it has none
}

// orcModule is what struct module has of ORC (arch/x86/include/asm/module.h).
type orcModule struct {
	kernel.Layout `kernel:"struct module"`
	Entries       kernel.U64 `kernel:"arch.orc_unwind"`
	IPs           kernel.U64 `kernel:"arch.orc_unwind_ip"`
	Count         kernel.U32 `kernel:"arch.num_orcs"`
}

// newORC finds the tables. The error wraps errNoData for a kernel without them.
func newORC(k *kernel.Kernel, modules *module.Table) (*orc, error) {
	t, err := k.Type("struct orc_entry")
	if err != nil {
		return nil, err
	}
	o := &orc{k: k, modules: modules, byMod: map[uint64]*orcTable{}}
	if o.form, err = orcFormOf(t); err != nil {
		return nil, err
	}
	if o.image, err = imageORC(k); err != nil {
		return nil, err
	}
	o.form.regs = orcRegsOf(o.image.entries)
	o.hasMods = modules != nil && k.Resolve(&o.fields) == nil
	return o, nil
}

// rule finds what is known about the instruction at an address.
func (o *orc) rule(t *text, addr uint64) (orcRule, bool) {
	if addr == 0 {
		// A jump to NULL: the word on the stack is the return address.
		return orcRule{kind: orcCall, spReg: orcRegSP, spOffset: 8}, true
	}
	table := o.image
	if !t.inImage(addr) {
		if table = o.moduleTable(addr); table == nil {
			return orcRule{}, false
		}
	}
	e, ok := table.find(addr)
	if !ok {
		return orcRule{}, false
	}
	return o.form.decode(e), true
}

// moduleTable is the table of the module that an address lies in, nil where
// there is none.
func (o *orc) moduleTable(addr uint64) *orcTable {
	if !o.hasMods {
		return nil
	}
	m, ok := o.modules.At(addr)
	if !ok {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	table, known := o.byMod[m.Addr]
	if !known {
		table = o.readModule(m.Addr)
		o.byMod[m.Addr] = table
	}
	return table
}

func (o *orc) readModule(addr uint64) *orcTable {
	b, err := o.k.Peek(addr, make([]byte, o.fields.Span()))
	if err != nil {
		return nil
	}
	table, err := readORC(o.k, o.fields.IPs.Get(b), o.fields.Entries.Get(b), int(o.fields.Count.Get(b)))
	if err != nil {
		return nil
	}
	return table
}

func (o *orc) method() Method   { return ByORC }
func (o *orc) sure() Confidence { return Certain }

// next implements unwinder.
func (o *orc) next(w *walk, s *state) (step, error) {
	r, ok := o.rule(w.t.text, s.lookup())
	if !ok || r.kind == orcUndefined || r.kind == orcBad {
		return step{}, errNoData
	}
	if r.kind == orcEnd {
		return step{end: true}, nil
	}
	cfa, err := o.cfa(w, s, &r)
	if err != nil {
		return step{}, err
	}
	n := step{cfa: cfa}
	switch r.kind {
	case orcCall:
		if err := n.called(w, s, cfa); err != nil {
			return step{}, err
		}
		n.state.exact = r.signal
	case orcRegs:
		err = n.interrupted(w, s, cfa, false)
	case orcIret:
		err = n.interrupted(w, s, cfa-amd64.IretOffset, true)
	}
	if err != nil {
		return step{}, err
	}
	return n, o.framePointer(w, s, &n.state, &r, cfa)
}

// orcBase are the registers that ORC finds frames by.
var orcBase = [16]baseReg{
	orcRegDX: {amd64.DX, true}, orcRegDI: {amd64.DI, true}, orcRegBP: {amd64.BP, true}, orcRegSP: {amd64.SP, true},
	orcRegR10: {amd64.R10, true}, orcRegR13: {amd64.R13, true}, orcRegBPIndirect: {amd64.BP, true}, orcRegSPIndirect: {amd64.SP, true},
}

type baseReg struct {
	reg arch.Reg
	ok  bool
}

// cfa is the canonical frame address: where the stack pointer was before what
// led into the function.
func (o *orc) cfa(w *walk, s *state, r *orcRule) (uint64, error) {
	offset := uint64(int64(r.spOffset))
	reg := orcBase[r.spReg&15].reg
	if !orcBase[r.spReg&15].ok {
		return 0, s.fail(0, "its unwind data is damaged", nil)
	}
	base, known := s.regs.Get(reg)
	if !known {
		return 0, s.fail(0, "its frame is found by register "+w.t.reg.Name(reg)+", which is not known", nil)
	}
	switch r.spReg {
	case orcRegBPIndirect:
		return w.word(s, base+offset)
	case orcRegSPIndirect:
		// Since 5.12 the offset is added to what is found, and objtool
		// makes such entries for calls on another stack. Before, entry code
		// made them, for registers and with the offset added first.
		if r.kind == orcCall {
			v, err := w.word(s, base)
			return v + offset, err
		}
		return w.word(s, base+offset)
	case orcRegSP, orcRegBP:
		return base + offset, nil
	}
	return base, nil
}

// framePointer finds what BP was in the caller.
func (o *orc) framePointer(w *walk, s *state, caller *state, r *orcRule, cfa uint64) (err error) {
	var bp uint64
	switch r.bpReg {
	case orcRegUndefined:
		return nil // still the same, or one of the registers saved
	case orcRegPrevSP:
		bp, err = w.word(s, cfa+uint64(int64(r.bpOffset)))
	case orcRegBP:
		old, ok := s.regs.Get(amd64.BP)
		if !ok {
			return nil
		}
		bp, err = w.word(s, old+uint64(int64(r.bpOffset)))
	default:
		return s.fail(0, "its unwind data is damaged", nil)
	}
	if err == nil {
		caller.regs.Set(amd64.BP, bp)
	}
	return err
}
