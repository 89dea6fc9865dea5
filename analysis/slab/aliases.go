package slab

import (
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kernfs"
	"github.com/kmortem/mortem/kernel/slab"
)

// readAliases finds the names of caches that SLUB merged into others: links in
// /sys/kernel/slab (slab_kset, mm/slub.c: sysfs_slab_alias) that lead to the directory
// of the cache. A kernel without sysfs has none, and neither has SLAB.
func readAliases(s *slab.Allocations, cover *kernel.Coverage) map[uint64][]string {
	k := s.Kernel()
	dir, kobj, err := directory(k)
	if err != nil || dir == 0 {
		return nil // there is none to read
	}
	r, err := kernfs.Open(k)
	if err != nil {
		return nil
	}
	aliases := make(map[uint64][]string)
	for e, err := range r.Entries(dir) {
		if err != nil {
			cover.Fail(fmt.Errorf("/sys/kernel/slab: %w", err))
			continue
		}
		c, err := s.ByAddr(e.Object - kobj)
		if err != nil || !e.Link || e.Name == c.Name {
			continue
		}
		aliases[c.Addr] = append(aliases[c.Addr], e.Name)
	}
	for _, list := range aliases {
		slices.Sort(list)
	}
	return aliases
}

// directory is the struct kobject of /sys/kernel/slab, and where in a struct
// kmem_cache its own is.
func directory(k *kernel.Kernel) (dir, kobj uint64, err error) {
	t, err := k.Type("struct kmem_cache")
	if err != nil {
		return 0, 0, err
	}
	own, err := t.Field("kobj")
	if err != nil {
		return 0, 0, err
	}
	if t, err = k.Type("struct kset"); err != nil {
		return 0, 0, err
	}
	in, err := t.Field("kobj")
	if err != nil {
		return 0, 0, err
	}
	at, err := k.Symbol("slab_kset")
	if err != nil {
		return 0, 0, err
	}
	kset, err := k.Uint64(at)
	if err != nil || kset == 0 {
		return 0, 0, err
	}
	return kset + uint64(in.Offset), uint64(own.Offset), nil
}
