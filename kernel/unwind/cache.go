package unwind

import "sync"

// cache keeps what was worked out for an address of code: the return addresses on
// a machine's stacks are few. It is safe for use by many goroutines.
type cache[T any] struct {
	mu   sync.RWMutex
	byPC map[uint64]T
}

// maxCached bounds the number of addresses that are kept.
const maxCached = 1 << 16

func (c *cache[T]) get(pc uint64, find func() T) T {
	c.mu.RLock()
	v, ok := c.byPC[pc]
	c.mu.RUnlock()
	if ok {
		return v
	}
	v = find()
	c.mu.Lock()
	if c.byPC == nil || len(c.byPC) >= maxCached {
		c.byPC = map[uint64]T{}
	}
	c.byPC[pc] = v
	c.mu.Unlock()
	return v
}
