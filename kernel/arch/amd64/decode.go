package amd64

import (
	"fmt"

	"golang.org/x/arch/x86/x86asm"

	"github.com/kmortem/mortem/kernel/arch"
)

// Decoder decodes x86-64 instructions.
type Decoder struct{}

// Decode implements arch.Decoder.
func (Decoder) Decode(code []byte, addr uint64, name func(uint64) string) (arch.Instruction, error) {
	if in, ok := special(code, addr); ok {
		return in, nil
	}
	inst, err := x86asm.Decode(code, 64)
	if err != nil {
		return arch.Instruction{Addr: addr, Len: 1}, fmt.Errorf("no instruction at %#x: %w", addr, err)
	}
	in := arch.Instruction{Addr: addr, Len: inst.Len, Flow: flow(inst.Op)}
	addresses(&inst, &in)
	in.Text = x86asm.GNUSyntax(inst, addr, symbolizer(name))
	return in, nil
}

// special decodes what x86asm does not know and kernels have everywhere.
func special(code []byte, addr uint64) (arch.Instruction, bool) {
	for _, s := range specials {
		if len(code) >= len(s.code) && string(code[:len(s.code)]) == s.code {
			return arch.Instruction{Addr: addr, Len: len(s.code), Text: s.text}, true
		}
	}
	return arch.Instruction{}, false
}

var specials = []struct{ code, text string }{
	{"\xf3\x0f\x1e\xfa", "endbr64"},
	{"\x0f\x01\xca", "clac"},
	{"\x0f\x01\xcb", "stac"},
	{"\x0f\x01\xee", "rdpkru"},
	{"\x0f\x01\xef", "wrpkru"},
}

func flow(op x86asm.Op) arch.Flow {
	switch op {
	case x86asm.CALL, x86asm.LCALL:
		return arch.Call
	case x86asm.JMP, x86asm.LJMP:
		return arch.Jump
	case x86asm.RET, x86asm.LRET, x86asm.IRET, x86asm.IRETD, x86asm.IRETQ, x86asm.SYSRET, x86asm.SYSEXIT:
		return arch.Return
	case x86asm.UD2, x86asm.UD1, x86asm.HLT:
		return arch.Stop
	case x86asm.JA, x86asm.JAE, x86asm.JB, x86asm.JBE, x86asm.JCXZ, x86asm.JE, x86asm.JECXZ, x86asm.JG,
		x86asm.JGE, x86asm.JL, x86asm.JLE, x86asm.JNE, x86asm.JNO, x86asm.JNP, x86asm.JNS, x86asm.JO,
		x86asm.JP, x86asm.JRCXZ, x86asm.JS, x86asm.LOOP, x86asm.LOOPE, x86asm.LOOPNE, x86asm.XBEGIN:
		return arch.Branch
	}
	return arch.Next
}

// addresses finds what an instruction names: relative to itself, as a number, or
// in the processor's own area, which GS points to.
func addresses(inst *x86asm.Inst, in *arch.Instruction) {
	next := in.Addr + uint64(inst.Len)
	for _, arg := range inst.Args {
		switch a := arg.(type) {
		case x86asm.Rel:
			in.Target = next + uint64(int64(a))
		case x86asm.Imm:
			if a>>31 == -1 { // in the upper 2 GiB, where the kernel image is
				in.Refers = uint64(a)
			}
		case x86asm.Mem:
			disp := uint64(displacement(a))
			if a.Base == x86asm.RIP {
				disp += next
			}
			switch {
			case a.Index != 0 || a.Base != x86asm.RIP && a.Base != 0:
			case a.Segment == x86asm.GS:
				in.PerCPU, in.HasPerCPU = disp, true
			case a.Segment == 0:
				in.Refers = disp
			}
		}
	}
}

// symbolizer makes x86asm write names: as the base, so that it writes them as
// they are.
func symbolizer(name func(uint64) string) x86asm.SymLookup {
	if name == nil {
		return nil
	}
	return func(addr uint64) (string, uint64) {
		if s := name(addr); s != "" {
			return s, addr
		}
		return "", 0
	}
}

// CallBefore implements arch.Arch.
func (Arch) CallBefore(code []byte) bool {
	n := len(code)
	if n >= 5 && code[n-5] == 0xe8 { // call rel32
		return true
	}
	for size := 2; size <= 8 && size <= n; size++ {
		if indirectCall(code[n-size:]) {
			return true
		}
	}
	return false
}

// indirectCall tells whether the bytes are exactly one call through a register
// or memory: FF /2, perhaps with prefixes.
func indirectCall(b []byte) bool {
	i := 0
	for i < len(b) && (b[i]&0xf0 == 0x40 || b[i] == 0x2e || b[i] == 0x3e || b[i] == 0x65) {
		i++
	}
	if i+1 >= len(b) || b[i] != 0xff || b[i+1]>>3&7 != 2 {
		return false
	}
	inst, err := x86asm.Decode(b, 64)
	return err == nil && inst.Len == len(b)
}
