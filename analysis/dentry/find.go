package dentry

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kmortem/mortem/kernel/netns"
	"github.com/kmortem/mortem/kernel/sysctl"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Find returns the dentry that a target names: an absolute path as a process in
// the first mount namespace and in init_net sees it, or a kernel virtual address
// in hexadecimal, with or without 0x. A target that is neither is ErrTarget.
func Find(fs *vfs.FS, target string) (*vfs.Dentry, error) {
	if strings.HasPrefix(target, "/") {
		return fs.Lookup(target, seenFromInit(fs))
	}
	addr, err := strconv.ParseUint(strings.TrimPrefix(target, "0x"), 16, 64)
	if err != nil {
		return nil, fmt.Errorf("%q %w", target, ErrTarget)
	}
	return fs.Dentry(addr)
}

// seenFromInit prefers, among entries of /proc/sys with one name, the one that
// init_net sees. It is nil for kernels without such entries.
func seenFromInit(fs *vfs.FS) func(*vfs.Dentry) bool {
	tables, err := sysctl.New(fs.Kernel())
	if err != nil {
		return nil
	}
	nets, err := netns.New(fs.Kernel())
	if err != nil {
		return nil
	}
	return func(d *vfs.Dentry) bool {
		seen, err := tables.Seen(d, nets.InitSet())
		return err == nil && seen
	}
}
