package vfs

import (
	"errors"
	"fmt"
	"strings"
)

// maxPath bounds the length of one path in bytes. PATH_MAX is 4,096; trees
// deeper than that can be built, step by step.
const maxPath = 64 << 10

// step is one dentry on the way up from another to the root of its tree.
type step struct {
	addr uint64
	name string // escaped; empty for the root
}

// climb goes from a dentry up to the root of its tree, which comes last. Where
// it cannot go on it returns the steps up to there, and why.
func (fs *FS) climb(addr uint64) ([]step, error) {
	var steps []step
	var d Dentry
	buf := make([]byte, fs.dentry.Span())
	length := 0
	// A circle of parents is found by comparing with the place where the
	// number of steps was last a power of two.
	mark, markAt := uint64(0), 1
	for {
		b, err := fs.k.Peek(addr, buf)
		if err != nil {
			return steps, fmt.Errorf("struct dentry at %#x: %w", addr, err)
		}
		fs.dentry.decode(&d, addr, b)
		if d.Root() {
			return append(steps, step{addr: addr}), nil
		}
		name, err := fs.NameOf(&d)
		if err != nil {
			return steps, err
		}
		steps = append(steps, step{addr, name})
		if length += len(name) + 1; length > maxPath {
			return steps, fmt.Errorf("struct dentry at %#x: its path is longer than %d bytes", steps[0].addr, maxPath)
		}
		if mark != 0 && d.Parent == mark {
			return steps, fmt.Errorf("struct dentry at %#x: its parents go in a circle", d.Parent)
		}
		if len(steps) == markAt {
			mark, markAt = addr, 2*markAt
		}
		addr = d.Parent
	}
}

// join makes a path of the names of steps that lead up.
func join(steps []step) string {
	var s strings.Builder
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].name != "" {
			s.WriteByte('/')
			s.WriteString(steps[i].name)
		}
	}
	return s.String()
}

// Path returns the dentry's path from the root of its file system, escaped to
// be shown; see Mounts.PathOf for the path that a process sees. When an
// ancestor cannot be read, the path starts with "…/" and comes with the error.
func (fs *FS) Path(d *Dentry) (string, error) {
	return pathIn(fs.climb(d.Addr))
}

func pathIn(steps []step, err error) (string, error) {
	path := join(steps)
	switch {
	case err != nil:
		return "…" + path, err
	case path == "":
		return "/", nil
	}
	return path, nil
}

// PathOfMount is the path of a mount's root in its namespace, escaped. Where
// the mounts above it are not known, or names cannot be read, the part that is
// known comes with the error, "…" in front.
func (m *Mounts) PathOfMount(mount *Mount) (string, error) {
	path := ""
	for depth := 0; mount.Parent != mount.Addr; depth++ {
		parent, ok := m.byAddr[mount.Parent]
		if !ok || depth == maxMountDepth || len(path) > maxPath {
			return "…" + path, fmt.Errorf("mount %d: its parent mount %#x is not among the mounts, or leads nowhere", mount.ID, mount.Parent)
		}
		steps, err := m.fs.climb(mount.Mountpoint)
		part, ok := below(steps, parent.Root)
		if !ok {
			if err == nil {
				err = errNotBelow
			}
			return "…" + path, fmt.Errorf("mount %d: %w", mount.ID, err)
		}
		path, mount = part+path, parent
	}
	if path == "" {
		path = "/"
	}
	return path, nil
}

// maxMountDepth bounds how deep mounts can be nested.
const maxMountDepth = 4096

// errNotBelow: the dentry is outside of the mount, as after a bind mount.
var errNotBelow = errors.New("the dentry is not below the mount's root")

// below is the path from the first of the steps up to the dentry root, "" where
// they are the same; false where the way up does not pass it.
func below(steps []step, root uint64) (string, bool) {
	for i, s := range steps {
		if s.addr == root {
			return join(steps[:i]), true
		}
	}
	return "", false
}

// PathOf is the path by which a process of the first mount namespace reaches
// the dentry, escaped to be shown. Where the file system is not mounted there,
// another namespace's mount is taken, and where it is mounted nowhere the path
// within the file system, with the type in front: "pipefs:/". Where names
// cannot be read, the part that is known comes with the error.
func (m *Mounts) PathOf(d *Dentry) (string, error) {
	steps, err := m.fs.climb(d.Addr)
	for _, first := range []bool{true, false} {
		for _, mount := range m.bySuper[d.Super] {
			if mount.Namespace == 0 || (mount.Namespace == m.initNS) != first {
				continue
			}
			path, ok := below(steps, mount.Root)
			if !ok {
				continue
			}
			at, err := m.PathOfMount(mount)
			return joinPath(at, path), err
		}
	}
	path, err := pathIn(steps, err)
	if sb, sbErr := m.fs.SuperBlock(d.Super); sbErr == nil {
		path = sb.Type + ":" + path
	}
	return path, err
}

func joinPath(mount, below string) string {
	switch {
	case below == "":
		return mount
	case mount == "/":
		return below
	}
	return mount + below
}
