package vfs_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

func ExampleOpen() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	fs, err := vfs.Open(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	for sb, err := range fs.SuperBlocks() {
		if err != nil {
			fmt.Println(err)
			return
		}
		if sb.Frozen != 0 {
			fmt.Println(sb.Type, sb.ID, "is frozen")
		}
	}
	// Output: ext4 vdb is frozen
}

func ExampleFS_Lookup() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	dir, err := fs.Lookup("/proc/sys/net", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	names := map[string]bool{}
	for child, err := range fs.Children(dir) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if name, err := fs.NameOf(child); err == nil && name == "core" {
			names[name] = child.Negative()
		}
	}
	path, err := fs.Mounts().PathOf(dir)
	fmt.Println(path, names, err)
	// Output: /proc/sys/net map[core:false] <nil>
}

func ExampleHashTable_Entries() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	table, err := fs.HashTable()
	if err != nil {
		fmt.Println(err)
		return
	}
	longest := 0
	for e, err := range table.Entries(0, table.Buckets) {
		if err != nil {
			fmt.Println(err) // the rest of this chain cannot be reached; the others can
			continue
		}
		longest = max(longest, e.Index+1)
	}
	fmt.Println(table.Buckets, "buckets; a chain holds more than 300:", longest > 300)
	// Output: 65536 buckets; a chain holds more than 300: true
}

func ExampleLRU() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	lru, err := fs.LRU()
	if err != nil {
		fmt.Println(err)
		return
	}
	for sb, err := range fs.SuperBlocks() {
		if err != nil || sb.ID != "vdb" {
			continue
		}
		n := int64(0)
		for list, err := range lru.Lists(sb) {
			if err != nil {
				fmt.Println(err)
				return
			}
			for _, err := range lru.Dentries(list) {
				if err != nil {
					fmt.Println(err)
					return
				}
				n++
			}
		}
		counter, err := lru.Counter(sb)
		fmt.Println("the counter and the lists agree:", counter == n, err)
	}
	// Output: the counter and the lists agree: true <nil>
}
