package unwind

import (
	"encoding/binary"

	"github.com/kmortem/mortem/kernel/arch"
)

// EntryRegister is what a register was when the function of a frame was called:
// its caller's instructions before the call say where the value came from. It is
// not known where the caller did not call the function itself, but one that then
// jumped to it. Likely tells that it was read from the caller's memory, which may
// have changed since.
func (t *Tracer) EntryRegister(trace *Trace, frame int, r arch.Reg) (value uint64, likely, ok bool) {
	if frame+1 >= len(trace.Frames) {
		return 0, false, false
	}
	caller := &trace.Frames[frame+1]
	callee, ok1 := t.Function(&trace.Frames[frame])
	fn, ok2 := t.Function(caller)
	if !ok1 || !ok2 || !caller.Return || fn.Size == 0 || fn.Size > maxCode || caller.PC-fn.Start > fn.Size {
		return 0, false, false
	}
	code := make([]byte, fn.Size)
	if _, err := t.mem.Read(code, fn.Start); err != nil {
		return 0, false, false
	}
	end := int(caller.PC - fn.Start)
	if target, direct := t.arch.CallTarget(code, end, fn.Start); !direct || target != callee.Start {
		return 0, false, false
	}
	o, ok := t.arch.Argument(code, end, fn.Start, r)
	if !ok {
		return 0, false, false
	}
	value = uint64(o.Offset)
	if o.HasBase {
		base, known := caller.Registers.Get(o.Base)
		if o.Base == t.reg.SP {
			base, known = caller.SP, true
		}
		if !known {
			return 0, false, false
		}
		value += base
	}
	if o.Load == 0 {
		return value, false, true
	}
	var buf [8]byte
	if _, err := t.mem.Read(buf[:min(o.Load, 8)], value); err != nil {
		return 0, false, false
	}
	return binary.LittleEndian.Uint64(buf[:]), true, true
}
