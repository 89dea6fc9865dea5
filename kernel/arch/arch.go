// Package arch holds what differs from one processor architecture to the next
// where stacks and code are read: the names of registers, the frames that
// exceptions leave in memory, and instructions.
//
// What mortem knows of an architecture stands in these places, and each is behind
// an interface, so that another architecture is another file in each:
//
//	kernel/paging/NAME.go        its page tables: paging.Space
//	kernel/NAME.go               where its kernel is in memory: kernel's machine
//	kernel/arch/NAME/            its registers and instructions: Arch
//	kernel/unwind/NAME.go        its stacks: unwind's machine
//
// Package kernel/arch/archs finds the one that a dump is of.
package arch

// Arch is an architecture as far as stacks and code are read.
type Arch interface {
	Decoder
	// Registers are the registers that the others speak of.
	Registers() *RegisterFile
	// PtRegs reads a struct pt_regs. Where only the part that the processor
	// wrote is there, partial tells so and the other registers stay unknown.
	// b has RegisterFile.PtRegsSize bytes.
	PtRegs(b []byte, partial bool) Registers
	// User tells whether registers are those of user mode. Unknown ones are
	// not.
	User(r *Registers) bool
	// Sane tells whether registers can be those of a processor that runs
	// Linux.
	Sane(r *Registers) bool
	// CallBefore tells whether the bytes that end at a return address can be
	// those of a call: code are the bytes before it, the last one right
	// before it.
	CallBefore(code []byte) bool
	// CallTarget is the virtual address where the direct call leads that ends
	// at an offset of code, which begins at the virtual address start.
	CallTarget(code []byte, end int, start uint64) (uint64, bool)
	// Argument follows a register back from the call that ends at an offset
	// of a function's code to where its value came from. It fails where that
	// is not in the straight line of instructions before the call, or was
	// computed.
	Argument(code []byte, end int, start uint64, r Reg) (Origin, bool)
	// FrameAt follows a function's instructions to the one at an offset and
	// works out the frame there. It fails where it meets what it does not
	// understand. code is the whole function, or at least what lies before
	// the offset.
	FrameAt(code []byte, offset int) (Frame, bool)
	// SpinLoop looks whether a function is, at an offset of its code, in a loop
	// that waits for one bit in memory. start is the function's virtual
	// address.
	SpinLoop(code []byte, start uint64, offset int) (SpinLoop, bool)
}

// SpinLoop is a loop that does nothing but wait for a bit in memory to be cleared.
type SpinLoop struct {
	// The bit's word lies at Disp from a register, or at Disp itself.
	Base    Reg
	HasBase bool
	Disp    int64
	Size    int // bytes of the word
	Bit     int
	// Taken tells that the function takes the bit by an atomic instruction once it is
	// clear, as a bit lock is.
	Taken bool
}

// RegisterFile is what an architecture's registers are called and for.
type RegisterFile struct {
	PC, SP, FP Reg
	// Link is the register that calls leave the return address in; without
	// HasLink they push it.
	Link    Reg
	HasLink bool
	// Saved are those that a function gives back as it was given them.
	Saved []Reg
	// Order is the order in which registers are shown: that of struct
	// pt_regs.
	Order []Reg
	// Names are those of struct pt_regs, as the notes of dumps have them, by
	// number.
	Names []string
	// PtRegsSize is the size in bytes of the registers in struct pt_regs. Of
	// a partial one the first PtRegsPartial bytes are not there; PtRegsPC is
	// where the instruction pointer lies in it.
	PtRegsSize, PtRegsPartial, PtRegsPC int
}

// MaxPtRegs is the highest PtRegsSize in bytes.
const MaxPtRegs = 272

// Name is a register's name as struct pt_regs has it, "" for a number that is
// none.
func (f *RegisterFile) Name(r Reg) string {
	if int(r) >= len(f.Names) {
		return ""
	}
	return f.Names[r]
}

// ByName finds a register by its name in struct pt_regs.
func (f *RegisterFile) ByName(name string) (Reg, bool) {
	for i, n := range f.Names {
		if n == name && n != "" {
			return Reg(i), true
		}
	}
	return 0, false
}

// Frame is the layout of a function's frame at one of its instructions, as far as
// the instructions before it tell. The canonical frame address (CFA) is where the
// stack pointer was before the call: on x86-64 8 above the return address.
type Frame struct {
	// Base is the register that the CFA is found by, and Offset is what to
	// add to it.
	Base   Reg
	Offset int64
	// Below is the distance below the CFA at which the function saved a
	// register for its caller, by register; 0 where it did not.
	Below [MaxSaved]int64
	Lost  uint64 // registers that were overwritten and are not saved, a bit each
}

// MaxSaved is one more than the highest number of a register that functions save.
const MaxSaved = 31

// Saved tells where below the CFA the function saved a register for its caller.
func (f *Frame) Saved(r Reg) (below int64, ok bool) {
	if r >= MaxSaved || f.Below[r] == 0 {
		return 0, false
	}
	return f.Below[r], true
}

// Same tells whether a register, one of RegisterFile.Saved, still has the value
// that it had in the caller.
func (f *Frame) Same(r Reg) bool {
	return r < MaxSaved && f.Below[r] == 0 && f.Lost>>r&1 == 0
}

// Origin is where a function took the value of a register from before a call, in
// terms of what is known after it: the registers that functions keep, the stack
// pointer, and numbers in the code.
type Origin struct {
	// Base is the register to start from, with HasBase; Offset is added to
	// it, or is the value itself without a base.
	Base    Reg
	HasBase bool
	Offset  int64
	// Load tells that the value was read from memory at that address, with
	// that many bytes. It may have changed there since.
	Load int
}

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
