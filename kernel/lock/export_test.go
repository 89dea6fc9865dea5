package lock

import (
	"context"

	"github.com/kmortem/mortem/kernel/arch/taken"
)

// Tracing lets tests look at how code is followed.
type Tracing struct{ b *builder }

// Trace makes a Tracing of a reader.
func (r *Reader) Trace() Tracing { return Tracing{newBuilder(context.Background(), r, Options{})} }

// Machine follows the code of the dump's architecture.
func (t Tracing) Machine() taken.Machine { return t.b.machine }

// EffectsOf are what the function at an address does with locks.
func (t Tracing) EffectsOf(target uint64) []taken.Effect { return t.b.effectsOf(target) }

// KindOf is what a tag stands for.
func KindOf(tag int) (Kind, Mode) { return tagKinds[tag].kind, tagKinds[tag].mode }

// WithoutCode makes a reader follow no code.
func (r *Reader) WithoutCode() { r.machine = nil }
