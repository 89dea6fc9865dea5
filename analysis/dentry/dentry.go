// Package dentry answers what there is to know about one dentry.
package dentry

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Report is the answer.
type Report struct {
	Addr       kernel.Addr  `json:"addr"`
	Path       string       `json:"path"` // as seen in the first mount namespace
	Name       string       `json:"name"`
	Hash       string       `json:"hash"` // d_name.hash, hexadecimal
	Flags      uint32       `json:"d_flags"`
	FlagNames  []string     `json:"flags"`
	Count      int32        `json:"count"` // references
	Inode      *Inode       `json:"inode"` // null for a negative dentry
	SuperBlock SuperBlock   `json:"super_block"`
	Parent     kernel.Addr  `json:"parent"`
	Operations string       `json:"d_op"` // symbol
	Hashed     bool         `json:"hashed"`
	Bucket     *uint64      `json:"bucket,omitempty"`       // number of its bucket, where hashed
	BucketAddr *kernel.Addr `json:"bucket_addr,omitempty"`  //
	Place      *int         `json:"chain_place,omitempty"`  // dentries of the chain before it
	Length     *int         `json:"chain_length,omitempty"` // dentries of its chain
	OnLRU      bool         `json:"on_lru"`
	Referenced bool         `json:"referenced"`
	// Children is how many dentries there are below it, one level down.
	Children uint64          `json:"children"`
	List     []Child         `json:"children_list,omitempty"`
	Coverage kernel.Coverage `json:"coverage"`
}

// Inode is what the dentry stands for.
type Inode struct {
	Addr   kernel.Addr `json:"addr"`
	Number uint64      `json:"i_ino"`
	Type   string      `json:"type"`
	Mode   string      `json:"mode"` // octal, as in stat(2)
	Links  uint32      `json:"i_nlink"`
	Count  int32       `json:"i_count"`
	Bytes  int64       `json:"i_size"` // bytes
}

// SuperBlock is the file system that the dentry belongs to.
type SuperBlock struct {
	Addr kernel.Addr `json:"addr"`
	ID   string      `json:"s_id"`
	Type string      `json:"type"`
}

// Child is one dentry below.
type Child struct {
	Addr     kernel.Addr `json:"addr"`
	Name     string      `json:"name"`
	Count    int32       `json:"count"`
	Negative bool        `json:"negative"`
	Hashed   bool        `json:"hashed"`
	OnLRU    bool        `json:"on_lru"`
}

// Options choose what the report holds.
type Options struct {
	Children int // how many of the children to list; negative means all
}

// Describe decodes a dentry. The error is that of a dentry that is none;
// everything else that cannot be read is part of the coverage.
func Describe(fs *vfs.FS, d *vfs.Dentry, opt Options) (*Report, error) {
	if err := plausible(fs, d); err != nil {
		return nil, err
	}
	r := &Report{
		Addr:       kernel.Addr(d.Addr),
		Hash:       fmt.Sprintf("%#08x", d.Hash),
		Flags:      d.Flags,
		FlagNames:  fs.FlagNames(d.Flags),
		Count:      d.Count,
		Parent:     kernel.Addr(d.Parent),
		Hashed:     fs.Hashed(d),
		OnLRU:      fs.OnLRU(d),
		Referenced: fs.Referenced(d),
		Coverage:   fs.Kernel().NewCoverage(),
	}
	r.Coverage.Read = 1
	if d.Op != 0 {
		r.Operations = fs.Kernel().SymbolName(d.Op)
	}
	r.names(fs, d)
	r.inode(fs, d)
	if r.Hashed {
		r.place(fs, d)
	}
	r.children(fs, d, opt)
	return r, nil
}

// The kinds of errors for targets that lead to no dentry.
var (
	// ErrNoDentry: what is at the address cannot be a dentry.
	ErrNoDentry = errors.New("no dentry there")
	// ErrTarget: the target is nothing that could lead to a dentry.
	ErrTarget = errors.New("is neither an absolute path nor a hexadecimal address")
)

// plausible tells whether the bytes at an address can be a dentry: its
// super_block and its parent must be ones that can be read, and the parent must
// be of the same super_block.
func plausible(fs *vfs.FS, d *vfs.Dentry) error {
	if _, err := fs.SuperBlock(d.Super); err != nil {
		return fmt.Errorf("%#x: %w: its d_sb leads nowhere: %w", d.Addr, ErrNoDentry, err)
	}
	parent, err := fs.Dentry(d.Parent)
	if err != nil {
		return fmt.Errorf("%#x: %w: its d_parent leads nowhere: %w", d.Addr, ErrNoDentry, err)
	}
	if parent.Super != d.Super {
		return fmt.Errorf("%#x: %w: its d_parent is of another super_block", d.Addr, ErrNoDentry)
	}
	return nil
}

func (r *Report) names(fs *vfs.FS, d *vfs.Dentry) {
	var err error
	if r.Name, err = fs.NameOf(d); err != nil {
		r.Coverage.Fail(err)
	}
	if r.Path, err = fs.Mounts().PathOf(d); err != nil {
		r.Coverage.Fail(err)
	}
	if sb, err := fs.SuperBlock(d.Super); err == nil {
		r.SuperBlock = SuperBlock{Addr: kernel.Addr(sb.Addr), ID: sb.ID, Type: sb.Type}
	}
}

func (r *Report) inode(fs *vfs.FS, d *vfs.Dentry) {
	if d.Negative() {
		return
	}
	r.Inode = &Inode{Addr: kernel.Addr(d.Inode)}
	i, err := fs.Inode(d.Inode)
	if err != nil {
		r.Coverage.Fail(err)
		return
	}
	r.Inode = &Inode{Addr: kernel.Addr(i.Addr), Number: i.Number, Type: i.Type(), Mode: fmt.Sprintf("%#o", i.Mode),
		Links: i.Links, Count: i.Count, Bytes: i.Bytes}
}

func (r *Report) place(fs *vfs.FS, d *vfs.Dentry) {
	table, err := fs.HashTable()
	if err != nil {
		r.Coverage.Fail(err)
		return
	}
	bucket, index, length, err := table.Find(d)
	if err != nil {
		r.Coverage.Fail(err)
	}
	addr := kernel.Addr(table.BucketAddr(bucket))
	r.Bucket, r.BucketAddr = &bucket, &addr
	if index >= 0 {
		r.Place, r.Length = &index, &length
	}
}

func (r *Report) children(fs *vfs.FS, d *vfs.Dentry, opt Options) {
	for child, err := range fs.Children(d) {
		if err != nil {
			r.Coverage.Fail(err)
			continue
		}
		r.Children++
		r.Coverage.Read++
		if opt.Children >= 0 && len(r.List) >= opt.Children {
			continue
		}
		name, err := fs.NameOf(child)
		if err != nil {
			r.Coverage.Fail(err)
		}
		r.List = append(r.List, Child{Addr: kernel.Addr(child.Addr), Name: name, Count: child.Count,
			Negative: child.Negative(), Hashed: fs.Hashed(child), OnLRU: fs.OnLRU(child)})
	}
}
