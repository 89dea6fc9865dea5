// Package arch holds what differs from one processor architecture to the next
// where stacks and code are read: the names of registers, the frames that
// exceptions leave in memory, and instructions. Each architecture is a package
// below.
package arch

// Reg is a register by the number that DWARF gives it on its architecture.
type Reg uint8

// MaxRegs is one more than the highest register number that is kept.
const MaxRegs = 34

// Registers are the values of some of a processor's registers. The zero value
// knows none.
type Registers struct {
	known  uint64
	values [MaxRegs]uint64
}

// Get returns the value of a register, and whether it is known.
func (r *Registers) Get(n Reg) (uint64, bool) {
	if n >= MaxRegs || r.known>>n&1 == 0 {
		return 0, false
	}
	return r.values[n], true
}

// Set makes the value of a register known.
func (r *Registers) Set(n Reg, value uint64) {
	if n < MaxRegs {
		r.known |= 1 << n
		r.values[n] = value
	}
}

// Forget makes the value of a register unknown.
func (r *Registers) Forget(n Reg) {
	if n < MaxRegs {
		r.known &^= 1 << n
	}
}

// Keep forgets all registers but those given, a bit for each number.
func (r *Registers) Keep(mask uint64) { r.known &= mask }

// Len is the number of registers that are known.
func (r *Registers) Len() int {
	n := 0
	for k := r.known; k != 0; k &= k - 1 {
		n++
	}
	return n
}

// Flow is what an instruction does to the flow of control.
type Flow uint8

// The kinds of instructions by where they lead.
const (
	Next Flow = iota // on to the next one
	Call
	Jump
	Branch // jump on a condition
	Return
	Stop // nowhere: ud2, hlt
)

// Instruction is one decoded instruction.
type Instruction struct {
	Addr uint64 // virtual address
	Len  int    // bytes
	Text string // in the GNU assembler's spelling
	Flow Flow
	// Target is where a call, jump or branch leads, 0 where that is not in
	// the instruction.
	Target uint64
	// Refers is the address that an operand names, relative to the
	// instruction pointer or as a number that can be one, 0 where there is
	// none.
	Refers uint64
	// PerCPU is the offset in the processor's own area that an operand
	// names; HasPerCPU tells whether there is one.
	PerCPU    uint64
	HasPerCPU bool
}

// Decoder decodes the instructions of an architecture. The name function, which
// may be nil, names addresses in the text.
type Decoder interface {
	// Decode decodes the first instruction in code, which lies at a virtual
	// address. Bytes that are no instruction give an error, and the length
	// in bytes to skip.
	Decode(code []byte, addr uint64, name func(uint64) string) (Instruction, error)
}
