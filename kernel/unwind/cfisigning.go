package unwind

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// DWARF for arm64 gives an opcode that is SPARC's DW_CFA_GNU_window_save elsewhere
// to DW_CFA_AARCH64_negate_ra_state: from there on the return address has an
// authentication code, or has none any more. Codes are removed wherever there are
// any, so that nothing is lost where it is taken for DW_CFA_nop; the parser knows
// neither.
const (
	cfaNop        = 0x00
	cfaNegateSign = 0x2d
)

// withoutSigning puts nops in the place of that opcode. The section has been checked
// (checkCFI); a copy is made where something changes.
func withoutSigning(data []byte) []byte {
	if bytes.IndexByte(data, cfaNegateSign) < 0 {
		return data
	}
	data = slices.Clone(data)
	for at := 0; at+4 <= len(data); {
		n := int(binary.LittleEndian.Uint32(data[at:]))
		at += 4
		if n == 0 {
			continue
		}
		if n < 0 || n > len(data)-at {
			break
		}
		silence(program(data[at : at+n]))
		at += n
	}
	return data
}

// program is the part of an entry that has instructions, nil where it is not one
// as compilers make them for .debug_frame of 64-bit code.
func program(entry []byte) []byte {
	if len(entry) < 4 {
		return nil
	}
	if binary.LittleEndian.Uint32(entry) != 0xffffffff {
		if len(entry) < 20 {
			return nil
		}
		return entry[20:] // behind the CIE's offset, the start and the length
	}
	if len(entry) < 6 {
		return nil
	}
	version, rest := entry[4], entry[5:]
	end := bytes.IndexByte(rest, 0)
	if end != 0 {
		return nil // an augmentation, which may add fields
	}
	rest = rest[1:]
	if version >= 4 {
		if len(rest) < 2 {
			return nil
		}
		rest = rest[2:] // sizes of addresses and segments
	}
	rest = skipLEB(skipLEB(rest)) // alignment of code and data
	if version == 1 {
		if len(rest) > 0 {
			rest = rest[1:]
		}
		return rest
	}
	return skipLEB(rest) // the register of return addresses
}

// skipLEB passes over a LEB128 number.
func skipLEB(b []byte) []byte {
	for i, c := range b {
		if c&0x80 == 0 {
			return b[i+1:]
		}
	}
	return nil
}

// silence overwrites the opcode in a sequence of call frame instructions (DWARF 5,
// 7.24).
func silence(b []byte) {
	for len(b) > 0 {
		op := b[0]
		rest := b[1:]
		switch {
		case op == cfaNegateSign:
			b[0] = cfaNop
		case op>>6 == 2: // offset
			rest = skipLEB(rest)
		case op>>6 != 0: // advance_loc, restore
		case op == 0x01: // set_loc
			rest = skipBytes(rest, 8)
		case op >= 0x02 && op <= 0x04: // advance_loc1, 2, 4
			rest = skipBytes(rest, 1<<(op-2))
		case op == 0x05, op == 0x09, op == 0x0c, op == 0x11, op == 0x12, op == 0x14, op == 0x15:
			rest = skipLEB(skipLEB(rest))
		case op == 0x06, op == 0x07, op == 0x08, op == 0x0d, op == 0x0e, op == 0x13, op == 0x2e:
			rest = skipLEB(rest)
		case op == 0x0f: // def_cfa_expression
			rest = skipBlock(rest)
		case op == 0x10, op == 0x16: // expression, val_expression
			rest = skipBlock(skipLEB(rest))
		case op == 0x00, op == 0x0a, op == 0x0b: // nop, remember_state, restore_state
		default:
			return
		}
		b = rest
	}
}

func skipBytes(b []byte, n int) []byte { return b[min(n, len(b)):] }

// skipBlock passes over a number and as many bytes.
func skipBlock(b []byte) []byte {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil
	}
	return b[used+int(n):]
}
