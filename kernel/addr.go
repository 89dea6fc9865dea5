package kernel

import (
	"fmt"
	"strconv"
)

// Addr is a kernel virtual address in a result. It prints as hexadecimal, in
// text and in JSON, where numbers of that size would lose bits.
type Addr uint64

// String is the address as in the kernel's messages: 0x and hexadecimal digits.
func (a Addr) String() string { return fmt.Sprintf("%#016x", uint64(a)) }

// MarshalText implements encoding.TextMarshaler: 16 hexadecimal digits after 0x.
func (a Addr) MarshalText() ([]byte, error) { return []byte(fmt.Sprintf("0x%016x", uint64(a))), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Addr) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 0, 64)
	*a = Addr(n)
	return err
}
