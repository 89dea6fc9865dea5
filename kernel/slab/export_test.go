package slab

// Decoded is where a free object's pointer leads, for tests that damage one.
func (s *Allocations) Decoded(c *Cache, v, at uint64) uint64 { return s.decode(c, v, at) }
