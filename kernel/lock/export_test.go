package lock

import (
	"context"

	"github.com/kmortem/mortem/kernel/arch/taken"
	"github.com/kmortem/mortem/kernel/task"
)

// Tracing lets tests look at how code is followed.
type Tracing struct{ b *builder }

// Trace makes a Tracing of a reader.
func (r *Reader) Trace() Tracing { return Tracing{newBuilder(context.Background(), r, Options{})} }

// Machine follows the code of the dump's architecture.
func (t Tracing) Machine() taken.Machine { return t.b.machine }

// EffectsOf are what the function at an address does with locks.
func (t Tracing) EffectsOf(target uint64) []taken.Effect { return t.b.effectsOf(target) }

// WithoutCode makes a reader follow no code.
func (r *Reader) WithoutCode() { r.machine = nil }

// LocalAt is the local variable at an address on a task's stack.
func (t Tracing) LocalAt(tk *task.Task, addr uint64) (name, function string) {
	s, err := t.b.stackOf(tk)
	if err != nil {
		return "", ""
	}
	return t.b.localAt(s, s.frameOf(addr), addr)
}
