// Package supers answers what file systems there are, where they are mounted,
// and how many dentries and inodes each of them keeps in memory.
package supers

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Report is the answer. Counts are lower bounds where Coverage is not complete.
type Report struct {
	SuperBlocks []SuperBlock      `json:"super_blocks"` // in the order of the list super_blocks
	State       DentryState       `json:"dentry_state"`
	Findings    []finding.Finding `json:"findings"` // where limits are exceeded; see Alarms
	Coverage    kernel.Coverage   `json:"coverage"`
}

// DentryState are the kernel's own counters of dentries, those of
// /proc/sys/fs/dentry-state.
type DentryState struct {
	Dentries uint64  `json:"nr_dentry"`
	Unused   uint64  `json:"nr_unused"`
	Negative *uint64 `json:"nr_negative"` // among the unused ones; null where the kernel does not count them
}

// SuperBlock is one file system.
type SuperBlock struct {
	Addr   kernel.Addr `json:"addr"`
	ID     string      `json:"s_id"`
	Type   string      `json:"type"`
	Device string      `json:"dev"` // major:minor
	Mounts []Mount     `json:"mounts"`
	Active int32       `json:"s_active"`
	Frozen bool        `json:"frozen,omitempty"` // or being frozen

	// Hashed and Negative count the dentries in dentry_hashtable. Roots of
	// file systems, pipes, sockets and deleted files are in no hash chain.
	Hashed   uint64 `json:"dentries_hashed"`
	Negative uint64 `json:"dentries_negative"`
	// UnusedCounter is the kernel's own counter of s_dentry_lru, and
	// UnusedWalked is how many dentries its lists hold.
	UnusedCounter int64  `json:"dentries_unused_counter"`
	UnusedWalked  uint64 `json:"dentries_unused_walked"`
	// UnusedCgroups is how many of these are on lists of memory cgroups.
	UnusedCgroups uint64 `json:"dentries_unused_in_memcgs"`
	Inodes        uint64 `json:"inodes"`
}

// Mount is one place where a file system is mounted.
type Mount struct {
	Path      string      `json:"path"` // in its mount namespace
	Namespace kernel.Addr `json:"mnt_ns"`
	Init      bool        `json:"init_ns"` // in the first mount namespace
	ID        int32       `json:"mnt_id"`
	Device    string      `json:"device"`          // what was mounted
	Root      string      `json:"root"`            // the part of the file system that is mounted
	State     string      `json:"state,omitempty"` // "kernel-internal" or "detached" where it has no namespace
}

// Analyze walks all super_blocks, their mounts, LRU lists and inodes, and the
// dentry hash table once. The error wraps kernel.ErrNotFound where the kernel
// lacks what it needs, or is that of ctx; what could not be read is in the
// report's coverage.
func Analyze(ctx context.Context, fs *vfs.FS) (*Report, error) {
	r := &Report{SuperBlocks: []SuperBlock{}, Findings: []finding.Finding{}, Coverage: fs.Kernel().NewCoverage()}
	r.state(fs)
	lru, err := fs.LRU()
	if err != nil {
		return nil, err
	}
	hashed, err := countHashed(ctx, fs, &r.Coverage)
	if err != nil {
		return nil, err
	}
	mounts := fs.Mounts()
	unreadMounts := mounts.Coverage
	unreadMounts.Read = 0
	r.Coverage.Add(unreadMounts)
	for sb, err := range fs.SuperBlocks() {
		if err != nil {
			r.Coverage.Fail(err)
		}
		if sb == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.Coverage.Read++
		r.SuperBlocks = append(r.SuperBlocks, r.describe(fs, lru, mounts, sb, hashed[sb.Addr]))
	}
	return r, nil
}

// state reads the counters. Sums below 0, which processors that count at the same
// time can leave, are shown as 0 by the kernel too.
func (r *Report) state(fs *vfs.FS) {
	s, err := fs.Stat()
	if err != nil {
		r.Coverage.Fail(fmt.Errorf("dentry-state: %w", err))
	}
	r.State = DentryState{Dentries: uint64(max(s.Dentries, 0)), Unused: uint64(max(s.Unused, 0))}
	if s.HasNegative {
		n := uint64(max(s.Negative, 0))
		r.State.Negative = &n
	}
}

func (r *Report) describe(fs *vfs.FS, lru *vfs.LRU, mounts *vfs.Mounts, sb *vfs.SuperBlock, hashed *dentries) SuperBlock {
	s := SuperBlock{
		Addr:   kernel.Addr(sb.Addr),
		ID:     sb.ID,
		Type:   sb.Type,
		Device: fmt.Sprintf("%d:%d", sb.Major(), sb.Minor()),
		Active: sb.Active,
		Frozen: sb.Frozen != 0,
		Mounts: []Mount{},
	}
	if hashed != nil {
		s.Hashed, s.Negative = hashed.all, hashed.negative
	}
	for _, m := range mounts.Of(sb.Addr) {
		s.Mounts = append(s.Mounts, r.mount(fs, mounts, m))
	}
	r.unused(&s, lru, sb)
	for _, err := range fs.Inodes(sb) {
		if err != nil {
			r.Coverage.Fail(fmt.Errorf("s_inodes of super_block %s: %w", sb.ID, err))
			break
		}
		s.Inodes++
	}
	return s
}

func (r *Report) unused(s *SuperBlock, lru *vfs.LRU, sb *vfs.SuperBlock) {
	var err error
	if s.UnusedCounter, err = lru.Counter(sb); err != nil {
		r.Coverage.Fail(fmt.Errorf("s_dentry_lru of super_block %s: %w", sb.ID, err))
	}
	for l, err := range lru.Lists(sb) {
		if err != nil {
			r.Coverage.Fail(fmt.Errorf("s_dentry_lru of super_block %s: %w", sb.ID, err))
			continue
		}
		for _, err := range lru.Dentries(l) {
			if err != nil {
				r.Coverage.Fail(fmt.Errorf("s_dentry_lru of super_block %s: %w", sb.ID, err))
				break
			}
			s.UnusedWalked++
			if l.Memcg >= 0 {
				s.UnusedCgroups++
			}
		}
	}
}

func (r *Report) mount(fs *vfs.FS, mounts *vfs.Mounts, m *vfs.Mount) Mount {
	out := Mount{ID: m.ID, Device: m.Device, Namespace: kernel.Addr(m.Namespace), Init: m.Namespace != 0 && m.Namespace == mounts.InitNamespace()}
	var err error
	switch {
	case m.Internal:
		out.State = "kernel-internal"
	case m.Namespace == 0:
		out.State = "detached"
	default:
		if out.Path, err = mounts.PathOfMount(m); err != nil {
			r.Coverage.Fail(err)
		}
	}
	root, err := fs.Dentry(m.Root)
	if err == nil {
		out.Root, err = fs.Path(root)
	}
	if err != nil {
		r.Coverage.Fail(fmt.Errorf("root of mount %d: %w", m.ID, err))
	}
	return out
}

// dentries counts the hashed dentries of one super_block.
type dentries struct{ all, negative uint64 }

// maxSupers bounds how many super_blocks are counted for: damaged dentries
// may each name another one.
const maxSupers = 1 << 20

// countHashed counts the hashed dentries of each super_block.
func countHashed(ctx context.Context, fs *vfs.FS, cover *kernel.Coverage) (map[uint64]*dentries, error) {
	table, err := fs.HashTable()
	if err != nil {
		return nil, err
	}
	counts := make(map[uint64]*dentries)
	var last *dentries
	var lastSuper uint64
	n := 0
	for e, err := range table.Entries(0, table.Buckets) {
		if err != nil {
			cover.Fail(err)
			continue
		}
		if n++; n&0xffff == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if super := e.Dentry.Super; last == nil || super != lastSuper {
			if last = counts[super]; last == nil {
				if len(counts) == maxSupers {
					continue
				}
				last = new(dentries)
				counts[super] = last
			}
			lastSuper = super
		}
		last.all++
		if e.Dentry.Negative() {
			last.negative++
		}
	}
	cover.Read += uint64(n)
	return counts, nil
}
