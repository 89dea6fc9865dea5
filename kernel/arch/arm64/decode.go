package arm64

import (
	"fmt"
	"strings"

	"golang.org/x/arch/arm64/arm64asm"

	"github.com/kmortem/mortem/kernel/arch"
)

// Decoder decodes A64 instructions.
type Decoder struct{}

// Decode implements arch.Decoder.
func (Decoder) Decode(code []byte, addr uint64, name func(uint64) string) (arch.Instruction, error) {
	if len(code) < size {
		return arch.Instruction{Addr: addr, Len: size}, fmt.Errorf("the instruction at %#x is cut short", addr)
	}
	w := wordAt(code)
	flow, rel, direct := w.flow()
	in := arch.Instruction{Addr: addr, Len: size, Flow: flow}
	if direct {
		in.Target = addr + uint64(rel)
	}
	if page, ok := w.page(addr); ok {
		in.Refers = page
		if len(code) >= 2*size {
			in.Refers += wordAt(code[size:]).within(w.rd())
		}
	}
	if in.Text = w.special(); in.Text != "" {
		return in, nil
	}
	inst, err := arm64asm.Decode(code[:size])
	if err != nil {
		return arch.Instruction{Addr: addr, Len: size}, fmt.Errorf("no instruction at %#x: %w", addr, err)
	}
	in.Text = spell(inst, addr, name)
	return in, nil
}

// page is the address that ADR or ADRP computes.
func (w word) page(addr uint64) (uint64, bool) {
	o := origin{}
	if !w.is(0x1f000000, 0x10000000) || !o.from(w, addr) {
		return 0, false
	}
	return uint64(o.Offset), true
}

// within is the offset in a page that the instruction behind ADRP adds to its
// register, to compute the address or to use memory there.
func (w word) within(page arch.Reg) uint64 {
	switch {
	case w.rn() != page:
	case w.is(0xffc00000, 0x91000000): // ADD
		return uint64(w >> 10 & 0xfff)
	case w.is(0x3f000000, 0x39000000): // a load or store of a general register
		return uint64(w>>10&0xfff) << (w >> 30)
	}
	return 0
}

// spell writes an instruction, with a name or else an address for what is given
// relative to it.
func spell(inst arm64asm.Inst, addr uint64, name func(uint64) string) string {
	text := arm64asm.GNUSyntax(inst)
	for _, arg := range inst.Args {
		rel, ok := arg.(arm64asm.PCRel)
		if !ok {
			continue
		}
		base := addr
		if inst.Op == arm64asm.ADRP {
			base &^= 0xfff
		}
		target := base + uint64(int64(rel))
		place := fmt.Sprintf("%#x", target)
		if name != nil {
			if s := name(target); s != "" {
				place = s
			}
		}
		text = strings.Replace(text, rel.String(), place, 1)
	}
	return text
}

// special spells what arm64asm does not know, or only as a number.
func (w word) special() string {
	if s, ok := fixed[uint32(w)]; ok {
		return s
	}
	switch {
	case w.is(0xffff0000, 0):
		return fmt.Sprintf("udf #%d", uint32(w))
	case w.is(0xffe0001f, 0xd4000002), w.is(0xffe0001f, 0xd4000003): // calls of the hypervisor and the monitor
		return fmt.Sprintf("%s #%#x", [2]string{"hvc", "smc"}[w&1], uint32(w>>5&0xffff))
	case w.is(0xffffffe0, 0xd50b7520):
		return "ic ivau, " + register("x", w.rd())
	case w.is(0xffffffe0, 0xd5031000), w.is(0xffffffe0, 0xd5031020):
		return fmt.Sprintf("wf%ct %s", "ei"[w>>5&1], register("x", w.rd()))
	case w.is(0x3f200c00, 0x38200000):
		return w.atomic()
	case w.is(0x3fa07c00, 0x08a07c00): // CAS
		return fmt.Sprintf("cas%s%s %s, %s, [%s]", w.order(22, 15), w.narrow(), w.reg(w.rm()), w.reg(w.rd()), pointer(w.rn()))
	case w.is(0xbfa07c00, 0x08207c00): // CASP
		kind := [2]string{"w", "x"}[w>>30&1]
		return fmt.Sprintf("casp%s %s, %s, %s, %s, [%s]", w.order(22, 15), register(kind, w.rm()), register(kind, w.rm()+1),
			register(kind, w.rd()), register(kind, w.rd()+1), pointer(w.rn()))
	case w.is(0xffd00000, 0xd5100000): // MSR, MRS
		return w.system()
	case w.is(0xfefff800, 0xd63f0800) || w.is(0xfefff800, 0xd61f0800): // BLRA, BRA
		return w.authenticated()
	}
	return ""
}

// fixed are instructions without operands, and hints.
var fixed = map[uint32]string{
	0xd503201f: "nop", 0xd503203f: "yield", 0xd503205f: "wfe", 0xd503207f: "wfi", 0xd503209f: "sev", 0xd50320bf: "sevl",
	0xd50320df: "dgh", 0xd50320ff: "xpaclri", 0xd503211f: "pacia1716", 0xd503219f: "autia1716", 0xd503221f: "esb", 0xd503229f: "csdb",
	0xd503231f: "paciaz", 0xd503233f: "paciasp", 0xd503235f: "pacibz", 0xd503237f: "pacibsp",
	0xd503239f: "autiaz", 0xd50323bf: "autiasp", 0xd50323df: "autibz", 0xd50323ff: "autibsp",
	0xd503241f: "bti", 0xd503245f: "bti c", 0xd503249f: "bti j", 0xd50324df: "bti jc",
	0xd50330ff: "sb", 0xd65f0bff: "retaa", 0xd65f0fff: "retab", 0xd69f0bff: "eretaa", 0xd69f0fff: "eretab",
}

// reg spells a register of the size that the two top bits tell.
func (w word) reg(r arch.Reg) string {
	kind := "w"
	if w>>30 == 3 {
		kind = "x"
	}
	return register(kind, r)
}

func register(kind string, r arch.Reg) string {
	if r == 31 {
		return kind + "zr"
	}
	return fmt.Sprintf("%s%d", kind, r)
}

func pointer(r arch.Reg) string {
	if r == SP {
		return "sp"
	}
	return register("x", r)
}

// narrow is the suffix for accesses of one and two bytes.
func (w word) narrow() string { return [4]string{"b", "h"}[w>>30] }

// order is the suffix for acquire and release semantics, by their bits.
func (w word) order(acquire, release uint) string {
	s := ""
	if w>>acquire&1 != 0 {
		s = "a"
	}
	if w>>release&1 != 0 {
		s += "l"
	}
	return s
}

var atomics = [8]string{"add", "clr", "eor", "set", "smax", "smin", "umax", "umin"}

// atomic spells the atomic operations on memory of the Large System Extensions.
func (w word) atomic() string {
	op := w >> 12 & 7
	switch {
	case w.is(0x04000000, 0x04000000):
		return ""
	case w>>15&1 == 0 && w.rd() == 31 && w>>23&1 == 0:
		return fmt.Sprintf("st%s%s%s %s, [%s]", atomics[op], w.order(23, 22), w.narrow(), w.reg(w.rm()), pointer(w.rn()))
	case w>>15&1 == 0:
		return fmt.Sprintf("ld%s%s%s %s, %s, [%s]", atomics[op], w.order(23, 22), w.narrow(), w.reg(w.rm()), w.reg(w.rd()), pointer(w.rn()))
	case op == 0:
		return fmt.Sprintf("swp%s%s %s, %s, [%s]", w.order(23, 22), w.narrow(), w.reg(w.rm()), w.reg(w.rd()), pointer(w.rn()))
	case op == 4 && w.rm() == 31 && w>>22&3 == 2:
		return fmt.Sprintf("ldapr%s %s, [%s]", w.narrow(), w.reg(w.rd()), pointer(w.rn()))
	}
	return ""
}

// authenticated spells branches that check an authentication code.
func (w word) authenticated() string {
	name, key := "br", "a"
	if w>>21&1 != 0 {
		name = "blr"
	}
	if w>>10&1 != 0 {
		key = "b"
	}
	if w>>24&1 == 0 {
		return fmt.Sprintf("%sa%sz %s", name, key, pointer(w.rn()))
	}
	return fmt.Sprintf("%sa%s %s, %s", name, key, pointer(w.rn()), pointer(w.rd()))
}

// system spells MRS and MSR of the registers that the kernel uses all over.
func (w word) system() string {
	name, ok := systems[uint32(w>>5&0x7fff)]
	if !ok {
		return ""
	}
	if w>>21&1 != 0 {
		return fmt.Sprintf("mrs %s, %s", register("x", w.rd()), name)
	}
	return fmt.Sprintf("msr %s, %s", name, register("x", w.rd()))
}

// systemRegister is the 15 bits that name a register in MRS and MSR.
func systemRegister(op0, op1, crn, crm, op2 uint32) uint32 {
	return (op0-2)<<14 | op1<<11 | crn<<7 | crm<<3 | op2
}

var systems = map[uint32]string{
	systemRegister(3, 0, 0, 0, 0): "midr_el1", systemRegister(3, 0, 0, 0, 5): "mpidr_el1",
	systemRegister(3, 0, 1, 0, 0): "sctlr_el1", systemRegister(3, 0, 2, 0, 0): "ttbr0_el1", systemRegister(3, 0, 2, 0, 1): "ttbr1_el1",
	systemRegister(3, 0, 2, 0, 2): "tcr_el1", systemRegister(3, 0, 4, 0, 0): "spsr_el1", systemRegister(3, 0, 4, 0, 1): "elr_el1",
	systemRegister(3, 0, 4, 1, 0): "sp_el0", systemRegister(3, 0, 4, 2, 2): "currentel", systemRegister(3, 0, 4, 2, 3): "pan",
	systemRegister(3, 0, 4, 6, 0): "icc_pmr_el1", systemRegister(3, 0, 5, 2, 0): "esr_el1", systemRegister(3, 0, 6, 0, 0): "far_el1",
	systemRegister(3, 0, 10, 2, 0): "mair_el1", systemRegister(3, 0, 12, 0, 0): "vbar_el1", systemRegister(3, 0, 13, 0, 1): "contextidr_el1",
	systemRegister(3, 0, 13, 0, 4): "tpidr_el1", systemRegister(3, 0, 12, 12, 0): "icc_iar1_el1", systemRegister(3, 0, 12, 12, 1): "icc_eoir1_el1",
	systemRegister(3, 3, 4, 2, 1): "daif", systemRegister(3, 3, 4, 4, 0): "fpcr", systemRegister(3, 3, 4, 4, 1): "fpsr",
	systemRegister(3, 3, 4, 2, 0): "nzcv", systemRegister(3, 3, 13, 0, 2): "tpidr_el0", systemRegister(3, 3, 13, 0, 3): "tpidrro_el0",
	systemRegister(3, 3, 14, 0, 0): "cntfrq_el0", systemRegister(3, 3, 14, 0, 2): "cntvct_el0", systemRegister(3, 3, 14, 3, 1): "cntv_ctl_el0",
	systemRegister(3, 3, 14, 3, 2): "cntv_cval_el0", systemRegister(3, 4, 13, 0, 2): "tpidr_el2", systemRegister(2, 0, 0, 2, 2): "mdscr_el1",
}
