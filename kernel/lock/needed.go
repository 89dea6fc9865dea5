package lock

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// Most words that are read are tried: what lies on a stack may be a lock or not. Those
// read by the functions here are known to be there, so that it is told when they cannot
// be read.

// need64 reads a word of something.
func (b *builder) need64(addr uint64, what string) (uint64, bool) {
	v, err := b.k.Peek(addr, b.word[:])
	if err != nil {
		b.fail(fmt.Errorf("%s: %w", what, err))
		return 0, false
	}
	return le64(v), true
}

func (b *builder) need32(addr uint64, what string) (uint32, bool) {
	v, err := b.k.Peek(addr, b.word[:4])
	if err != nil {
		b.fail(fmt.Errorf("%s: %w", what, err))
		return 0, false
	}
	return uint32(v[0]) | uint32(v[1])<<8 | uint32(v[2])<<16 | uint32(v[3])<<24, true
}

// unread counts an error that something could not be read, and no others: that the
// kernel has no such thing is none.
func (b *builder) unread(what string, err error) {
	var read *kernel.ReadError
	if err != nil && errors.As(err, &read) {
		b.fail(fmt.Errorf("%s: %w", what, err))
	}
}

// onlyAtStart tells whether code is what the kernel needs only while it starts, whose memory
// it has given away by the time of any dump.
func (b *builder) onlyAtStart(addr uint64) bool {
	begin, err1 := b.k.Symbol("__init_begin")
	end, err2 := b.k.Symbol("__init_end")
	return err1 == nil && err2 == nil && addr >= begin && addr < end
}
