package task

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// credLayout is struct cred (include/linux/cred.h, since 2.6.29). What changed: ids
// are numbers until 3.4 and kuid_t since, of the same size; capabilities are one
// 64-bit number since 6.3, and two of 32 bits before, in the same order; group_info
// has its groups in blocks until 4.8.
type credLayout struct {
	kernel.Layout `kernel:"struct cred"`
	UID           kernel.Uint  `kernel:"uid.val|uid"`
	GID           kernel.Uint  `kernel:"gid.val|gid"`
	SUID          kernel.Uint  `kernel:"suid.val|suid"`
	SGID          kernel.Uint  `kernel:"sgid.val|sgid"`
	EUID          kernel.Uint  `kernel:"euid.val|euid"`
	EGID          kernel.Uint  `kernel:"egid.val|egid"`
	FSUID         kernel.Uint  `kernel:"fsuid.val|fsuid"`
	FSGID         kernel.Uint  `kernel:"fsgid.val|fsgid"`
	Inheritable   kernel.Bytes `kernel:"cap_inheritable,optional"`
	Permitted     kernel.Bytes `kernel:"cap_permitted,optional"`
	Effective     kernel.Bytes `kernel:"cap_effective,optional"`
	Bounding      kernel.Bytes `kernel:"cap_bset,optional"`
	Ambient       kernel.Bytes `kernel:"cap_ambient,optional"`
	UserNS        kernel.U64   `kernel:"user_ns|user.user_ns,optional"`
	Groups        kernel.U64   `kernel:"group_info,optional"`
}

// Credentials are who a task is, by the ids of the first user namespace: struct
// cred (include/linux/cred.h).
type Credentials struct {
	UID, EUID, SUID, FSUID uint32
	GID, EGID, SGID, FSGID uint32
	Groups                 []uint32
	// Capabilities as bits (include/uapi/linux/capability.h).
	Inheritable, Permitted, Effective, Bounding, Ambient uint64
	UserNS                                               uint64 // virtual address of the struct user_namespace, 0 if not known
}

// Credentials reads a task's own credentials (real_cred). Those that it took over
// for a while are not looked at. The error wraps kernel.ErrNotFound for a task
// without any, and a *kernel.ReadError where the struct cred
// (include/linux/cred.h) cannot be read.
func (d *Details) Credentials(m *More) (*Credentials, error) {
	if m.cred == 0 {
		return nil, fmt.Errorf("a task has no credentials: %w", kernel.ErrNotFound)
	}
	l := &d.cred
	b, err := d.k.Peek(m.cred, make([]byte, l.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct cred at %#x: %w", m.cred, err)
	}
	id := func(f kernel.Uint) uint32 { return uint32(f.Get(b)) }
	c := &Credentials{UID: id(l.UID), EUID: id(l.EUID), SUID: id(l.SUID), FSUID: id(l.FSUID),
		GID: id(l.GID), EGID: id(l.EGID), SGID: id(l.SGID), FSGID: id(l.FSGID),
		Inheritable: capabilities(l.Inheritable, b), Permitted: capabilities(l.Permitted, b), Effective: capabilities(l.Effective, b),
		Bounding: capabilities(l.Bounding, b), Ambient: capabilities(l.Ambient, b), UserNS: l.UserNS.Or0(b)}
	if info := l.Groups.Or0(b); info != 0 {
		if c.Groups, err = d.groups(info); err != nil {
			return c, fmt.Errorf("struct group_info at %#x: %w", info, err)
		}
	}
	return c, nil
}

func capabilities(f kernel.Bytes, b []byte) uint64 {
	if !f.Has() || f.Len() != 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(f.Get(b))
}

// groups reads a struct group_info: an array behind it since 4.9, before that
// pages of numbers.
func (d *Details) groups(info uint64) ([]uint32, error) {
	o, err := d.k.ObjectAt("struct group_info", info)
	if err != nil {
		return nil, nil // the debug information does not have it
	}
	n, err := o.Field("ngroups").Uint()
	if err != nil || n == 0 {
		return nil, err
	}
	const most = 65536 // NGROUPS_MAX
	if n > most {
		return nil, fmt.Errorf("%d groups cannot be", n)
	}
	at := func(i uint64) (uint64, error) { return o.Field("gid").Addr() + 4*i, nil }
	if o.Field("gid").Err() != nil {
		perBlock := d.k.PageSize() / 4
		at = func(i uint64) (uint64, error) {
			block, err := d.k.Uint64(o.Field("blocks").Addr() + 8*(i/perBlock))
			return block + 4*(i%perBlock), err
		}
	}
	list := make([]uint32, 0, n)
	for i := range n {
		addr, err := at(i)
		if err != nil {
			return list, err
		}
		gid, err := d.k.Uint32(addr)
		if err != nil {
			return list, err
		}
		list = append(list, gid)
	}
	return list, nil
}
