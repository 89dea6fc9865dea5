package indump

import (
	"iter"
	"maps"
)

// Variables are the names in the list of variables.
func Variables() iter.Seq[string] { return maps.Keys(variables) }

// NotedBuildID is the build id in the kernel's notes.
func (s *Source) NotedBuildID() []byte { return s.notedBuildID() }
