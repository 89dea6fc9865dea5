package unwind

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel/arch"
)

// Errors for variables that have no value at a frame.
var (
	ErrOptimizedOut = errors.New("optimized out")
	// ErrUnknownRegister: the variable is in a register whose value the
	// functions called since have not kept.
	ErrUnknownRegister = errors.New("in a register that is not known")
	// ErrEntryValue: the variable is what a register was when the function
	// was entered.
	ErrEntryValue = errors.New("as it was at the function's entry, which is not known")
	// ErrLocation: the location expression is damaged, or of a kind that is
	// not understood.
	ErrLocation = errors.New("its location is not understood")
)

// Location is where a variable is at a frame.
type Location struct {
	Memory bool
	Addr   uint64 // virtual address, with Memory
	// Value is the variable's own, without Memory: of a register, or computed.
	Value uint64
	Reg   string // the register that Value is from, "" where it was computed
	// Entry tells that Value comes from what the caller passed, and Likely
	// that this was read from its memory, which may have changed since.
	Entry, Likely bool
	// Pieces are the parts of a variable that the compiler split up, from its
	// first byte on; nil for one that is whole.
	Pieces []Piece
}

// Piece is a part of a variable.
type Piece struct {
	Location
	Size uint64 // bytes
	Err  error  // where this part has no value
}

// Locate evaluates the location expression of a variable (DWARF 5, 2.5) at a
// frame of a trace. base is the function's DW_AT_frame_base. Addresses in the
// expression are as linked. The error is ErrOptimizedOut where the variable has
// no place there, and else says which register or memory is not known.
func (t *Tracer) Locate(trace *Trace, frame int, expr, base []byte) (Location, error) {
	if len(expr) == 0 {
		return Location{}, ErrOptimizedOut
	}
	e := evaluator{t: t, f: &trace.Frames[frame], base: base, trace: trace, index: frame}
	return e.location(expr)
}

// Operations of DWARF expressions (DWARF 5, 7.7.1).
const (
	opAddr, opDeref                     = 0x03, 0x06
	opConst1u, opConst8s, opConstu      = 0x08, 0x0f, 0x10
	opConsts, opDup, opDrop, opOver     = 0x11, 0x12, 0x13, 0x14
	opPick, opSwap, opRot               = 0x15, 0x16, 0x17
	opAbs, opAnd, opMinus, opMul, opNeg = 0x19, 0x1a, 0x1c, 0x1e, 0x1f
	opNot, opOr, opPlus, opPlusUconst   = 0x20, 0x21, 0x22, 0x23
	opShl, opShr, opShra, opXor         = 0x24, 0x25, 0x26, 0x27
	opBra, opEq, opGe, opGt, opLe, opLt = 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d
	opNe, opSkip                        = 0x2e, 0x2f
	opLit0, opReg0, opBreg0             = 0x30, 0x50, 0x70
	opRegx, opFbreg, opBregx            = 0x90, 0x91, 0x92
	opPiece, opDerefSize, opNop         = 0x93, 0x94, 0x96
	opCallFrameCFA, opImplicit, opValue = 0x9c, 0x9e, 0x9f
	opEntryValue, opConvert, opReinterp = 0xa3, 0xa8, 0xa9
	opGNUEntryValue, opGNUConvert       = 0xf3, 0xf7
	opParameterRef                      = 0xfa // GNU: an argument that the caller passed
	opGNUReinterp                       = 0xf9
	maxOperations, maxDepth, maxPieces  = 4096, 64, 64
)

type evaluator struct {
	t     *Tracer
	f     *Frame
	base  []byte
	data  []byte
	at    int
	stack []uint64
	steps int
	inner bool // evaluates the frame base
	trace *Trace
	index int // of f in it

	entry, likely bool // as in Location
}

// location evaluates an expression to its end, piece by piece.
func (e *evaluator) location(expr []byte) (Location, error) {
	e.data, e.at = expr, 0
	var pieces []Piece
	for {
		loc, err := e.one()
		if e.at >= len(e.data) && (len(pieces) == 0 || err == nil && !e.atPiece()) {
			if len(pieces) > 0 {
				return Location{Pieces: pieces}, nil
			}
			return loc, err
		}
		if e.steps > maxOperations || len(pieces) >= maxPieces {
			return Location{}, ErrLocation
		}
		if err != nil && !errors.Is(err, ErrOptimizedOut) && !e.skipToPiece() {
			return Location{}, err
		}
		if e.at >= len(e.data) || e.data[e.at] != opPiece {
			return Location{}, ErrLocation
		}
		e.at++
		size, ok := e.uleb()
		if !ok {
			return Location{}, ErrLocation
		}
		pieces = append(pieces, Piece{Location: loc, Size: size, Err: err})
		e.stack = e.stack[:0]
		if e.at >= len(e.data) {
			return Location{Pieces: pieces}, nil
		}
	}
}

func (e *evaluator) atPiece() bool { return e.at < len(e.data) && e.data[e.at] == opPiece }

// skipToPiece is for a piece whose value is not known: what is left of its own
// expression is a value at most.
func (e *evaluator) skipToPiece() bool {
	if e.at < len(e.data) && e.data[e.at] == opValue {
		e.at++
	}
	return e.atPiece()
}

// one evaluates up to the next piece, or the end.
func (e *evaluator) one() (Location, error) {
	if e.atPiece() {
		return Location{}, ErrOptimizedOut
	}
	for e.at < len(e.data) {
		if e.steps++; e.steps > maxOperations {
			return Location{}, ErrLocation
		}
		op := e.data[e.at]
		switch {
		case op == opPiece:
			return e.memory()
		case op >= opReg0 && op < opReg0+32:
			e.at++
			return e.register(arch.Reg(op - opReg0))
		case op == opRegx:
			e.at++
			n, _ := e.uleb()
			return e.register(arch.Reg(min(n, arch.MaxRegs)))
		case op == opValue:
			e.at++
			v, err := e.pop()
			return Location{Value: v, Entry: e.entry, Likely: e.likely}, err
		case op == opImplicit:
			e.at++
			return e.implicit()
		}
		if err := e.operation(); err != nil {
			return Location{}, err
		}
	}
	return e.memory()
}

func (e *evaluator) memory() (Location, error) {
	addr, err := e.pop()
	return Location{Memory: true, Addr: addr}, err
}

func (e *evaluator) register(r arch.Reg) (Location, error) {
	v, ok := e.f.Registers.Get(r)
	if !ok {
		return Location{Reg: e.t.reg.Name(r)}, fmt.Errorf("%w (%s)", ErrUnknownRegister, e.t.reg.Name(r))
	}
	return Location{Value: v, Reg: e.t.reg.Name(r)}, nil
}

// implicit is a value that stands in the expression.
func (e *evaluator) implicit() (Location, error) {
	n, ok := e.uleb()
	if !ok || n > 8 || uint64(len(e.data)-e.at) < n {
		return Location{}, ErrLocation
	}
	var buf [8]byte
	copy(buf[:], e.data[e.at:e.at+int(n)])
	e.at += int(n)
	return Location{Value: binary.LittleEndian.Uint64(buf[:])}, nil
}

func (e *evaluator) push(v uint64) error {
	if len(e.stack) >= maxDepth {
		return ErrLocation
	}
	e.stack = append(e.stack, v)
	return nil
}

func (e *evaluator) pop() (uint64, error) {
	if len(e.stack) == 0 {
		return 0, ErrLocation
	}
	v := e.stack[len(e.stack)-1]
	e.stack = e.stack[:len(e.stack)-1]
	return v, nil
}
