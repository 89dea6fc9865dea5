package unwind

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/go-delve/delve/pkg/dwarf/frame"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// cfi unwinds by DWARF call frame information (DWARF 5, 6.4): .debug_frame of
// vmlinux, or of a module. Entry code has none since 4.2.
type cfi struct {
	link    func(virt uint64) (uint64, bool) // address in the section's terms
	entries frame.FrameDescriptionEntries
	cache   cache[*frame.FrameContext] // nil where there are no rules
}

// sections is what a source of debug information implements when it has the
// sections of an ELF file.
type sections interface {
	Section(name string) (data []byte, addr uint64, err error)
}

// cfi reads the call frame information when it is first needed.
func (t *Tracer) cfi() (*cfi, error) {
	t.cfiOnce.Do(func() {
		var data []byte
		if data, t.cfiErr = frameSection(t.k.Info()); t.cfiErr == nil {
			t.cfiData, t.cfiErr = parseCFI(data, func(virt uint64) (uint64, bool) { return virt - t.k.Offset(), true })
		}
	})
	return t.cfiData, t.cfiErr
}

// cfiAt is the call frame information for the function at an address, nil where
// there is none.
func (t *Tracer) cfiAt(virt uint64) *cfi {
	if t.text.inImage(virt) {
		c, err := t.cfi()
		if err != nil {
			return nil
		}
		return c
	}
	code, ok := t.k.CodeAt(virt)
	if !ok {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c, known := t.moduleCFI[code.Info]
	if !known {
		if data, err := frameSection(code.Info); err == nil {
			c, _ = parseCFI(data, code.Link) // nil where it is damaged
		}
		t.moduleCFI[code.Info] = c
	}
	return c
}

// runtimeOf turns an address in the debug information of a frame's code into a
// virtual one.
func (t *Tracer) runtimeOf(f *Frame, link uint64) (uint64, bool) {
	if code, ok := t.k.CodeAt(f.Lookup()); ok {
		return code.Runtime(link)
	}
	return 0, false
}

// frameSection is the section with the call frame information.
func frameSection(info debuginfo.Source) ([]byte, error) {
	s, ok := info.(sections)
	if !ok {
		return nil, fmt.Errorf("%s: %w", info.Describe(), errNoData)
	}
	data, _, err := s.Section(".debug_frame")
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("%s has no .debug_frame: %w", info.Describe(), errNoData)
	}
	return data, err
}

// parseCFI reads a .debug_frame section.
func parseCFI(data []byte, link func(virt uint64) (uint64, bool)) (c *cfi, err error) {
	if err := checkCFI(data); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("call frame information is damaged: %v", r)
		}
	}()
	data = withoutSigning(data)
	entries, err := frame.Parse(data, binary.LittleEndian, 0, 8, 0)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e *frame.FrameDescriptionEntry) bool { return e.CIE == nil || e.Begin() == 0 })
	slices.SortFunc(entries, func(a, b *frame.FrameDescriptionEntry) int { return cmp.Compare(a.Begin(), b.Begin()) })
	return &cfi{link: link, entries: entries}, nil
}

var errCFI = errors.New("call frame information is damaged")

// checkCFI checks that the entries fill the section: the parser believes their
// lengths. A length of 0 ends a table, and 32-bit lengths are the only ones that
// kernels have.
func checkCFI(data []byte) error {
	common := map[uint32]bool{}
	for at := 0; at < len(data); {
		if len(data)-at < 4 {
			return errCFI
		}
		n := int64(binary.LittleEndian.Uint32(data[at:]))
		if n == 0 {
			at += 4
			continue
		}
		if n < 8 || n >= 0xfffffff0 || n > int64(len(data)-at-4) {
			return errCFI
		}
		id := binary.LittleEndian.Uint32(data[at+4:])
		if id == 0xffffffff {
			common[uint32(at)] = true
		} else if !common[id] {
			return errCFI
		}
		at += 4 + int(n)
	}
	return nil
}

// rules finds the rules for a runtime address.
func (c *cfi) rules(addr uint64) (*frame.FrameContext, error) {
	rules := c.cache.get(addr, func() *frame.FrameContext {
		ctx, err := c.find(addr)
		if err != nil {
			return nil
		}
		return ctx
	})
	if rules == nil {
		return nil, errNoData
	}
	return rules, nil
}

func (c *cfi) find(addr uint64) (ctx *frame.FrameContext, err error) {
	link, ok := c.link(addr)
	if !ok {
		return nil, errNoData
	}
	entry, err := c.entries.FDEForPC(link)
	if err != nil {
		return nil, errNoData
	}
	defer func() {
		if r := recover(); r != nil {
			ctx, err = nil, errNoData
		}
	}()
	return entry.EstablishFrame(link)
}

func (c *cfi) method() Method   { return ByCFI }
func (c *cfi) sure() Confidence { return Certain }

func (c *cfi) next(w *walk, s *state) (step, error) {
	rules, err := c.rules(s.lookup())
	if err != nil {
		return step{}, errNoData
	}
	var n step
	if n.cfa, err = c.cfa(w, s, rules); err != nil {
		return step{}, err
	}
	at, ok := rules.Regs[rules.RetAddrReg]
	switch {
	case w.t.reg.HasLink:
		err = c.linked(w, s, &n, at, ok)
	case ok && at.Rule == frame.RuleOffset && at.Offset != -8:
		return n, c.interrupted(w, s, &n, rules, at.Offset)
	default:
		err = n.called(w, s, n.cfa)
	}
	if err != nil {
		return step{}, err
	}
	for _, r := range w.t.reg.Saved {
		n.restore(w, s, r, rules)
	}
	return n, nil
}

// linked is for architectures whose calls leave the return address in a register.
func (c *cfi) linked(w *walk, s *state, n *step, rule frame.DWRule, ok bool) error {
	switch {
	case !ok || rule.Rule == frame.RuleSameVal:
		return n.linked(w, s, n.cfa, 0)
	case rule.Rule == frame.RuleOffset && rule.Offset < 0:
		return n.linked(w, s, n.cfa, -rule.Offset)
	}
	return errNoData
}

// cfa finds the canonical frame address: by a register, or in functions that
// align their stack and in old entry code by an expression.
func (c *cfi) cfa(w *walk, s *state, rules *frame.FrameContext) (uint64, error) {
	switch {
	case rules.CFA.Rule == frame.RuleExpression:
		e := evaluator{t: w.t, f: &Frame{Registers: s.regs}}
		loc, err := e.location(rules.CFA.Expression)
		if err != nil || !loc.Memory {
			return 0, errNoData
		}
		return loc.Addr, nil
	case rules.CFA.Rule != frame.RuleCFA || rules.CFA.Reg >= arch.MaxRegs:
		return 0, errNoData
	}
	base, ok := s.regs.Get(arch.Reg(rules.CFA.Reg))
	if fp, known := s.regs.Get(w.t.reg.FP); !ok && known && w.t.reg.HasLink && !s.exact {
		// FP points to where the caller's is saved, in the frame record.
		if saved := rules.Regs[uint64(w.t.reg.FP)]; saved.Rule == frame.RuleOffset {
			return fp - uint64(saved.Offset), nil
		}
	}
	if !ok {
		return 0, s.fail(0, "its frame is found by register "+w.t.reg.Name(arch.Reg(rules.CFA.Reg))+", which is not known", nil)
	}
	return base + uint64(rules.CFA.Offset), nil
}

// interrupted is for the entry code that had call frame information, until 4.1:
// where the return address would be lies the instruction pointer in the struct
// pt_regs. The registers before it are there where the rules say so.
func (c *cfi) interrupted(w *walk, s *state, n *step, rules *frame.FrameContext, offset int64) error {
	saved, ok := rules.Regs[uint64(amd64.DI)]
	partial := !ok || saved.Rule != frame.RuleOffset
	err := n.interrupted(w, s, n.cfa+uint64(offset)-amd64.IretOffset, partial)
	if err != nil || partial {
		return err
	}
	for _, r := range w.t.reg.Saved {
		if rule, ok := rules.Regs[uint64(r)]; !ok || rule.Rule != frame.RuleOffset {
			n.unsaved(s, r)
		}
	}
	return nil
}

// restore finds a register that functions keep for their callers.
func (n *step) restore(w *walk, s *state, r arch.Reg, rules *frame.FrameContext) {
	n.state.regs.Forget(r)
	rule, ok := rules.Regs[uint64(r)]
	switch {
	case !ok || rule.Rule == frame.RuleSameVal:
		if v, known := s.regs.Get(r); known {
			n.state.regs.Set(r, v)
		}
	case rule.Rule == frame.RuleOffset:
		if v, err := w.word(s, n.cfa+uint64(rule.Offset)); err == nil {
			n.state.regs.Set(r, v)
		}
	}
}
