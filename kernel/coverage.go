package kernel

import (
	"errors"

	"github.com/kmortem/mortem/dump"
)

// Coverage says how much of what a walk or an analysis should have seen could
// not be read, and why. Where it is not Complete, counts are lower bounds.
type Coverage struct {
	Read     uint64 `json:"read"`     // objects read
	Excluded uint64 `json:"excluded"` // objects whose page was filtered out of the dump
	Missing  uint64 `json:"missing"`  // objects outside of the dump, or at addresses that are not mapped
	Corrupt  uint64 `json:"corrupt"`  // objects in pages that do not decompress, and structures that contradict themselves
	// Mismatch says how the debug information differs from the dumped kernel
	// where that was let pass; see Options.Force. The whole answer may be
	// wrong then.
	Mismatch string `json:"debuginfo_mismatch,omitempty"`
	// Problems are the first failures, each with its place.
	Problems []string `json:"problems,omitempty"`
}

// maxProblems bounds how many failures are kept as text.
const maxProblems = 20

// Complete tells whether everything was read.
func (c *Coverage) Complete() bool { return c.Excluded+c.Missing+c.Corrupt == 0 }

// Unread is the number of objects that could not be read.
func (c *Coverage) Unread() uint64 { return c.Excluded + c.Missing + c.Corrupt }

// Fail counts an error by its kind and keeps its text if it is among the first.
func (c *Coverage) Fail(err error) {
	var read *ReadError
	switch {
	case errors.Is(err, dump.ErrExcluded):
		c.Excluded++
	case errors.Is(err, dump.ErrCorrupt):
		c.Corrupt++
	case errors.As(err, &read):
		c.Missing++
	default:
		c.Corrupt++
	}
	if len(c.Problems) < maxProblems {
		c.Problems = append(c.Problems, err.Error())
	}
}

// NewCoverage is the coverage that an answer about the kernel starts from.
func (k *Kernel) NewCoverage() Coverage { return Coverage{Mismatch: k.mismatch} }

// Add takes the counts and problems of another coverage over.
func (c *Coverage) Add(o Coverage) {
	c.Read += o.Read
	c.Excluded += o.Excluded
	c.Missing += o.Missing
	c.Corrupt += o.Corrupt
	room := max(0, maxProblems-len(c.Problems))
	c.Problems = append(c.Problems, o.Problems[:min(room, len(o.Problems))]...)
}
