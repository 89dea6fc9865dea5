package vfs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel/cstr"
)

// ErrNoDentry: a name is not in the dump's dentry cache. The file may exist on
// disk all the same.
var ErrNoDentry = errors.New("no dentry of that name is cached")

// Lookup finds the dentry that an absolute path leads to in the first mount
// namespace, crossing mounts. Symbolic links are not followed. Names are matched
// as bytes, or in the escaped form in which they are shown. Where a directory
// has several dentries of one name, as /proc/sys has for several network
// namespaces, the first one that prefer accepts is taken, or the newest where it
// accepts none; prefer may be nil. It fails where a part of the path is not
// among the dentries, which are those in the dump's dentry cache only, or cannot
// be read.
func (fs *FS) Lookup(path string, prefer func(*Dentry) bool) (*Dentry, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("%q is not an absolute path", path)
	}
	m := fs.Mounts()
	mount, err := m.rootMount()
	if err != nil {
		return nil, err
	}
	mount, at := m.top(mount, mount.Root)
	done := ""
	for _, name := range strings.Split(path, "/") {
		if name == "" || name == "." {
			continue
		}
		dir, err := fs.Dentry(at)
		if err != nil {
			return nil, err
		}
		child, err := fs.child(dir, name, prefer)
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", name, done+"/", err)
		}
		done += "/" + name
		mount, at = m.top(mount, child)
	}
	return fs.Dentry(at)
}

// rootMount is the root of the first mount namespace.
func (m *Mounts) rootMount() (*Mount, error) {
	for _, mount := range m.all {
		if mount.Namespace == m.initNS && mount.Namespace != 0 && mount.Parent == mount.Addr {
			return mount, nil
		}
	}
	return nil, fmt.Errorf("the root of the first mount namespace (%#x) is not among the mounts", m.initNS)
}

// top goes from a dentry in a mount to the root of what is mounted on it, and
// on what is mounted on that.
func (m *Mounts) top(mount *Mount, dentry uint64) (*Mount, uint64) {
	for range maxMountDepth {
		over, ok := m.on[mountpoint{mount.Addr, dentry}]
		if !ok || over.Namespace == 0 {
			break
		}
		mount, dentry = over, over.Root
	}
	return mount, dentry
}

// child finds a child of a directory by name. An unhashed one (of a deleted
// file) is taken only where no other has the name. The error of a list that
// breaks counts only where nothing was found before the break.
func (fs *FS) child(dir *Dentry, name string, prefer func(*Dentry) bool) (uint64, error) {
	var newest, deleted uint64
	missing := ErrNoDentry
	for d, err := range fs.Children(dir) {
		if err != nil {
			missing = err
			continue
		}
		raw, err := fs.RawName(d)
		if err != nil || string(raw) != name && cstr.Show(raw) != name {
			continue
		}
		switch {
		case !fs.Hashed(d):
			deleted = d.Addr
		case prefer == nil || prefer(d):
			return d.Addr, nil
		case newest == 0:
			newest = d.Addr
		}
	}
	switch {
	case newest != 0:
		return newest, nil
	case deleted != 0:
		return deleted, nil
	}
	return 0, missing
}
