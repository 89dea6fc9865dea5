package task

import (
	"bytes"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/paging"
)

// User is the user mode memory of a process. Dumps lack most of it as a rule:
// makedumpfile leaves it out from dump level 8 on.
type User struct {
	image dump.Image
	space paging.Space
}

// User is the memory that an address space maps. It fails where the struct
// mm_struct has no page table that can be one.
func (d *Details) User(m *Memory) (*User, error) {
	phys, _, err := d.k.Translate(m.pgd)
	if err != nil {
		return nil, &kernel.ReadError{Addr: m.pgd, Err: err}
	}
	space, ok := d.k.UserSpace(phys)
	if !ok {
		return nil, fmt.Errorf("struct mm_struct at %#x: pgd is %#x, which is no table's address", m.Addr, m.pgd)
	}
	return &User{image: d.k.Image(), space: space}, nil
}

// Read fills buf with the memory at a user virtual address, as kernel.Memory.Read
// does. errors.Is tells a page that was left out (dump.ErrExcluded) from one that was
// swapped out or never touched (paging.ErrNotMapped).
func (u *User) Read(buf []byte, virt uint64) (int, error) {
	done := 0
	for done < len(buf) {
		at := virt + uint64(done)
		phys, left, err := u.space.Translate(at)
		if err != nil {
			return done, &kernel.ReadError{Addr: at, Err: err}
		}
		part := buf[done:]
		if uint64(len(part)) > left {
			part = part[:left]
		}
		n, err := u.image.ReadPhys(part, phys)
		done += n
		if err != nil {
			return done, &kernel.ReadError{Addr: at + uint64(n), Err: err}
		}
	}
	return done, nil
}

// maxStrings bounds the bytes of a command line or environment: the kernel allows
// 6 MiB for both (MAX_ARG_STRLEN, a quarter of the stack's limit).
const maxStrings = 6 << 20

// CommandLine are the process's arguments. What was read comes with the error.
func (d *Details) CommandLine(m *Memory) ([]string, error) {
	b, err := d.area(m, m.argStart, m.argEnd)
	if err == nil && len(b) > 0 && b[len(b)-1] != 0 {
		b, err = d.title(m, b)
	}
	return split(b), err
}

// title is what a process wrote over its arguments, and on over its environment,
// to show another name: it ends at its first NUL.
func (d *Details) title(m *Memory, args []byte) ([]byte, error) {
	if m.envStart != m.argEnd || m.envEnd <= m.envStart {
		return args, nil
	}
	if i := bytes.IndexByte(args, 0); i >= 0 {
		return args[:i+1], nil
	}
	more, err := d.area(m, m.envStart, min(m.envEnd, m.envStart+d.k.PageSize()))
	if i := bytes.IndexByte(more, 0); i >= 0 {
		more, err = more[:i+1], nil
	}
	return append(args, more...), err
}

// Environment is the process's environment as it was given, NAME=VALUE each. What
// was read comes with the error.
func (d *Details) Environment(m *Memory) ([]string, error) {
	b, err := d.area(m, m.envStart, m.envEnd)
	return split(b), err
}

func (d *Details) area(m *Memory, start, end uint64) ([]byte, error) {
	if end <= start {
		return nil, nil
	}
	if end-start > maxStrings {
		return nil, fmt.Errorf("struct mm_struct at %#x: arguments of %d bytes cannot be", m.Addr, end-start)
	}
	u, err := d.User(m)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, end-start)
	n, err := u.Read(buf, start)
	return buf[:n], err
}

// split takes strings apart that end in NUL bytes.
func split(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	var list []string
	for _, s := range bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		list = append(list, string(s))
	}
	return list
}
