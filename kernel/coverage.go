package kernel

import (
	"cmp"
	"errors"
	"math"
	"slices"

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
	// Damage says what of the debug information cannot be read: what is defined
	// there is not known, and where the answer needed that it is not whole.
	Damage string `json:"debuginfo_damage,omitempty"`
	// Problems are the first failures, each with its place.
	Problems []string `json:"problems,omitempty"`
}

// maxProblems bounds how many failures are kept as text.
const maxProblems = 20

// Complete tells whether everything was read, the debug information included.
func (c *Coverage) Complete() bool { return c.Unread() == 0 && c.Damage == "" }

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
		c.note(err.Error())
	}
}

// note keeps a failure's text, once where more than one walk meets it.
func (c *Coverage) note(text string) {
	if len(c.Problems) < maxProblems && !slices.Contains(c.Problems, text) {
		c.Problems = append(c.Problems, text)
	}
}

// NewCoverage is the coverage that an answer about the kernel starts from.
func (k *Kernel) NewCoverage() Coverage {
	return Coverage{Mismatch: k.mismatch, Damage: k.Damage()}
}

// PartCoverage is the coverage of one of several goroutines that divide a row of
// work among them, each taking its pieces in the order of the row. What
// JoinCoverage keeps of their problems then does not depend on who took what.
type PartCoverage struct {
	Coverage
	places []uint64 // of the problems, in the row
}

// At says where in the row the problems since the last call were met.
func (p *PartCoverage) At(place uint64) {
	for len(p.places) < len(p.Problems) {
		p.places = append(p.places, place)
	}
}

// JoinCoverage adds up the parts of a row of work, with the problems that come
// first in the row; those without a place come last.
func JoinCoverage(parts []*PartCoverage) Coverage {
	type problem struct {
		place uint64
		text  string
	}
	var all Coverage
	var problems []problem
	for _, p := range parts {
		p.At(math.MaxUint64)
		for i, text := range p.Problems {
			problems = append(problems, problem{p.places[i], text})
		}
		counts := p.Coverage
		counts.Problems = nil
		all.Add(counts)
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return cmp.Compare(a.place, b.place) })
	for _, p := range problems {
		all.note(p.text)
	}
	return all
}

// Add takes the counts and problems of another coverage over.
func (c *Coverage) Add(o Coverage) {
	c.Read += o.Read
	c.Excluded += o.Excluded
	c.Missing += o.Missing
	c.Corrupt += o.Corrupt
	for _, text := range o.Problems {
		c.note(text)
	}
}
