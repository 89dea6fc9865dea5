package vfs_test

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// lookup finds a dentry by its path.
func lookup(fs *vfs.FS, path string) *vfs.Dentry {
	d, err := fs.Lookup(path, nil)
	if err != nil {
		panic(err)
	}
	return d
}

// The path within the file system, and the one that processes use.
func ExampleFS_Path() {
	fs := kerneltest.ExampleFS() // as Open does
	d := lookup(fs, "/proc/sys/net/core")
	within, err := fs.Path(d)
	fmt.Println(within, err)
	path, err := fs.Mounts().PathOf(d)
	fmt.Println(path, err)
	// Output:
	// /sys/net/core <nil>
	// /proc/sys/net/core <nil>
}

func ExampleFS_Inode() {
	fs := kerneltest.ExampleFS() // as Open does
	i, err := fs.Inode(lookup(fs, "/proc/sys/net").Inode)
	if err != nil {
		panic(err)
	}
	sb, err := fs.SuperBlock(i.Super)
	if err != nil {
		panic(err)
	}
	fmt.Println(i.Type(), "of", sb.Type)
	// Output: directory of proc
}

// A name that does not exist is a dentry without an inode, in its hash chain as any
// other.
func ExampleHashTable_Find() {
	fs := kerneltest.ExampleFS() // as Open does
	d := lookup(fs, "/mnt/etc/pki/nssdb/.000000_dOeSnotExist_.db")
	table, err := fs.HashTable()
	if err != nil {
		panic(err)
	}
	_, index, length, err := table.Find(d)
	fmt.Println(d.Negative(), index < length, err)
	root, err := fs.Dentry(lookup(fs, "/").Addr)
	if err != nil {
		panic(err)
	}
	_, _, _, err = table.Find(root)
	fmt.Println("the root is in no chain:", errors.Is(err, vfs.ErrNotHashed))
	// Output:
	// true true <nil>
	// the root is in no chain: true
}

// What /proc/sys/fs/dentry-state would say.
func ExampleFS_Stat() {
	fs := kerneltest.ExampleFS() // as Open does
	s, err := fs.Stat()
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Unused <= s.Dentries, s.HasNegative, s.Negative <= s.Unused)
	// Output: true true true
}
