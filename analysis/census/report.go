// Package census answers of what the dentry and inode caches consist: of which file
// systems, directories and names, in which states, and who holds what is deleted.
package census

import (
	"github.com/kmortem/mortem/analysis/chains"
	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel"
)

// The ways to the objects.
const (
	SourceSlabs  = "slab sweep"  // every live object of the cache
	SourceChains = "hash chains" // what is hashed only: lower bounds
)

// DentryReport is the answer about dentries. Counts are lower bounds where Coverage is
// not complete, or where Source is SourceChains.
type DentryReport struct {
	Source string `json:"source"`
	// WhyChains says why the slabs could not be read, where Source is SourceChains.
	WhyChains string  `json:"why_hash_chains,omitempty"`
	Filter    string  `json:"filter,omitempty"` // only dentries of this are counted
	Caches    []Cache `json:"caches,omitempty"`
	Memory    uint64  `json:"memory_bytes,omitempty"` // of the machine

	Dentries    Counts   `json:"dentries"`
	States      []State  `json:"states"`
	Supers      []Super  `json:"super_blocks"` // the one with the most dentries first
	FileSystems []FSType `json:"file_systems"` // the same by type
	Memcgs      []Memcg  `json:"memcgs,omitempty"`
	// WhyNotCharged says why of Memcgs only OnLRU is known, or of chosen dentries
	// nothing, where that is so;
	// UnknownCharged are the dentries whose memory cgroup could not be read.
	WhyNotCharged  string      `json:"why_not_charged,omitempty"`
	UnknownCharged uint64      `json:"unknown_charged,omitempty"`
	Directories    []Directory `json:"directories"` // the largest first
	// DirectoryError and PatternError are by how much the counts of directories and
	// patterns may be too small: 0 where there was room to count each of them.
	DirectoryError uint64    `json:"directories_error"`
	Patterns       []Pattern `json:"patterns"`
	PatternError   uint64    `json:"patterns_error"`
	// LongNames are names that lie apart from their dentry, and LongUnread those of
	// them that were not read; no pattern counts these.
	LongNames  uint64 `json:"long_names"`
	LongUnread uint64 `json:"long_names_unread,omitempty"`
	// Strange are objects of the cache that are no dentries, by their super_block.
	Strange uint64 `json:"strange_objects,omitempty"`

	Chains   *ChainLengths     `json:"chains,omitempty"` // by the dentries' own hashes
	Counters []Counter         `json:"kernel_counters,omitempty"`
	Held     []Held            `json:"held,omitempty"` // unhashed dentries of mounted file systems that are in use
	MoreHeld uint64            `json:"more_held,omitempty"`
	Findings []finding.Finding `json:"findings"`
	Coverage kernel.Coverage   `json:"coverage"`
}

// Cache is a slab cache that was swept.
type Cache struct {
	Name    string      `json:"name"`
	Addr    kernel.Addr `json:"addr"`
	Size    int         `json:"object_size"` // bytes from one object to the next
	Slabs   uint64      `json:"slabs"`
	Objects uint64      `json:"objects"` // that there is room for
	Live    uint64      `json:"live"`
	Bytes   uint64      `json:"bytes"` // of all slabs
	Unread  uint64      `json:"unread,omitempty"`
	Damaged uint64      `json:"damaged_slabs,omitempty"`
}

// Counts are numbers of dentries. One dentry may be in several of them.
type Counts struct {
	Total      uint64 `json:"total"`
	Bytes      uint64 `json:"bytes"`
	Negative   uint64 `json:"negative"`        // of names that do not exist
	InUse      uint64 `json:"in_use"`          // with references
	OnLRU      uint64 `json:"on_lru"`          // unused, on the list that the shrinker takes from
	Referenced uint64 `json:"lru_referenced"`  // of these, used since they came there
	NegLRU     uint64 `json:"lru_negative"`    // of these, negative
	LRUInUse   uint64 `json:"lru_in_use"`      // on the LRU as well, but in use again
	Hashed     uint64 `json:"hashed"`          // in a hash chain
	Held       uint64 `json:"unhashed_in_use"` // deleted, or never hashed, and in use
	Killed     uint64 `json:"being_killed"`    // being freed
}

// State is one of the states that exclude each other.
type State struct {
	Name     string `json:"state"`
	Dentries uint64 `json:"dentries"`
	Negative uint64 `json:"negative"`
	Bytes    uint64 `json:"bytes"`
}

// Super are the dentries of one super_block.
type Super struct {
	Addr   kernel.Addr `json:"addr"`
	ID     string      `json:"s_id"`
	Type   string      `json:"type"`
	Mounts []string    `json:"mounts,omitempty"` // the first few, as the first mount namespace sees them
	Listed bool        `json:"listed"`           // it is in the kernel's list of super_blocks
	Counts
	// LRUCounter is the kernel's own counter of s_dentry_lru.
	LRUCounter *int64 `json:"lru_counter,omitempty"`
	LRU        []List `json:"lru_lists,omitempty"` // the lists that are not empty
}

// List is one list of an s_dentry_lru: of a NUMA node and a memory cgroup.
type List struct {
	Node    int    `json:"node"`
	Memcg   int    `json:"memcg"`   // kmemcg_id, -1 for none
	Counter int64  `json:"counter"` // the kernel's own
	Walked  *int64 `json:"walked"`  // null where it was too long to be walked
}

// FSType are the dentries of one type of file system.
type FSType struct {
	Type string `json:"type"`
	Counts
}

// Memcg are the dentries that are charged to one memory cgroup, and the unused ones on
// its lists.
type Memcg struct {
	ID    int    `json:"kmemcg_id"`      // -1 for the root, and those of no cgroup
	Path  string `json:"path,omitempty"` // of the cgroup, empty where it could not be told
	OnLRU int64  `json:"on_lru"`
	// Dentries are all that are charged to the cgroup, by the slabs' own records, and
	// Bytes their size; null where the kernel has no such records.
	Dentries *uint64 `json:"dentries"`
	Bytes    *uint64 `json:"bytes"`
}

// Directory are the children of one directory.
type Directory struct {
	Path     string      `json:"path"` // as the first mount namespace sees it
	Addr     kernel.Addr `json:"addr"` // of its dentry
	Dentries uint64      `json:"dentries"`
	Negative uint64      `json:"negative"`
	OnLRU    uint64      `json:"on_lru"`
	Unhashed uint64      `json:"unhashed"`
	Bytes    uint64      `json:"bytes"`
	// Pattern is the one that more than half of the names have, if one does.
	Pattern string `json:"main_pattern,omitempty"`
}

// Pattern are the dentries whose names have one pattern.
type Pattern struct {
	Pattern  string   `json:"pattern"`
	Dentries uint64   `json:"dentries"`
	Negative uint64   `json:"negative"`
	OnLRU    uint64   `json:"on_lru"`
	Bytes    uint64   `json:"bytes"`
	Samples  []Sample `json:"samples,omitempty"`
	// Directory is the one that more than half of them are in, if one is.
	Directory string `json:"main_directory,omitempty"`
}

// Sample is one dentry.
type Sample struct {
	Addr kernel.Addr `json:"addr"`
	Name string      `json:"name"`
}

// ChainLengths are the lengths of the chains of dentry_hashtable as the hashes of the
// dentries lead to them.
type ChainLengths struct {
	Buckets         uint64       `json:"buckets"`
	Hashed          uint64       `json:"hashed"`
	Longest         int          `json:"longest"`
	LongestBucket   uint64       `json:"longest_bucket"`
	ExpectedLongest int          `json:"expected_longest"` // under a random hash
	Histogram       []chains.Bin `json:"histogram"`
}

// Counter is one of the kernel's own counts beside what was counted here.
type Counter struct {
	Name    string `json:"name"`
	Kernel  int64  `json:"kernel"`
	Counted int64  `json:"counted"`
	What    string `json:"what"` // what was counted
}

// Held is an object that is deleted, or hidden, and who holds it.
type Held struct {
	Dentry  kernel.Addr `json:"dentry"`
	Inode   kernel.Addr `json:"inode"`
	Path    string      `json:"path"`
	Type    string      `json:"type,omitempty"` // of the file
	Number  uint64      `json:"i_ino,omitempty"`
	Size    int64       `json:"size,omitempty"`  // i_size, bytes
	Links   uint32      `json:"links,omitempty"` // i_nlink
	Super   kernel.Addr `json:"super_block"`
	Count   int32       `json:"count"` // references to the dentry
	Holders []Holder    `json:"holders,omitempty"`
	More    int         `json:"more_holders,omitempty"`
}

// Holder is who holds a dentry.
type Holder struct {
	How  string      `json:"how"` // fd, cwd, root, exe, mmap, mount, mountpoint; child: a dentry below it
	PID  int32       `json:"pid,omitempty"`
	Comm string      `json:"comm,omitempty"`
	FD   *int        `json:"fd,omitempty"`
	At   kernel.Addr `json:"at,omitempty"` // of the struct file, fs_struct, vm_area_struct, mount or dentry
}
