package vfs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel/ctype"
)

// dentryFlags are the bits of d_flags that walks depend on; 0 where the
// kernel has none of that meaning.
type dentryFlags struct {
	referenced uint32
	unhashed   uint32 // before 2.6.38
	lruList    uint32 // since 3.12
	shrinkList uint32
	mounted    uint32 // since 2.6.38; before that d_mounted counts
	entryType  uint32 // mask; since 3.13
	killed     uint32 // since 3.12
}

// flagName is one bit of d_flags, or one value of a field of several bits.
type flagName struct {
	mask  uint32
	value uint32
	name  string
}

func bit(n uint, name string) flagName { return flagName{1 << n, 1 << n, name} }

func entryType(mask, value uint32, name string) flagName { return flagName{mask, value, name} }

// The bits of d_flags are macros before 6.15 (include/linux/dcache.h), so that
// debug information does not have them. They are told apart by what the same
// releases did to struct dentry.
var (
	// 2.6.32: struct dentry has d_mounted.
	flags26 = []flagName{
		bit(0, "AUTOFS_PENDING"), bit(1, "NFSFS_RENAMED"), bit(2, "DISCONNECTED"), bit(3, "REFERENCED"),
		bit(4, "UNHASHED"), bit(5, "INOTIFY_PARENT_WATCHED"), bit(6, "COOKIE"), bit(7, "FSNOTIFY_PARENT_WATCHED"),
	}
	// 3.3 to 6.14: the lower bits, which all of these releases share. Bit 7
	// is RCUACCESS until 5.0 and DONTCACHE since 5.8.
	flags3 = []flagName{
		bit(0, "OP_HASH"), bit(1, "OP_COMPARE"), bit(2, "OP_REVALIDATE"), bit(3, "OP_DELETE"), bit(4, "OP_PRUNE"),
		bit(5, "DISCONNECTED"), bit(6, "REFERENCED"), bit(8, "CANT_MOUNT"), bit(9, "GENOCIDE"),
		bit(10, "SHRINK_LIST"), bit(11, "OP_WEAK_REVALIDATE"), bit(12, "NFSFS_RENAMED"), bit(13, "COOKIE"),
		bit(14, "FSNOTIFY_PARENT_WATCHED"), bit(16, "MOUNTED"), bit(17, "NEED_AUTOMOUNT"),
		bit(18, "MANAGE_TRANSIT"), bit(19, "LRU_LIST"),
	}
	// RHEL 7's 3.10: the entry types of 3.13 at other places.
	flagsRHEL7 = []flagName{
		bit(20, "DENTRY_KILLED"),
		entryType(7<<24, 0<<24, "MISS_TYPE"), entryType(7<<24, 1<<24, "DIRECTORY_TYPE"), entryType(7<<24, 2<<24, "AUTODIR_TYPE"),
		entryType(7<<24, 3<<24, "SYMLINK_TYPE"), entryType(7<<24, 4<<24, "FILE_TYPE"), bit(27, "OP_REAL"),
	}
	// 3.13 to 3.19.
	flags313 = []flagName{
		bit(15, "DENTRY_KILLED"),
		entryType(7<<20, 0<<20, "MISS_TYPE"), entryType(7<<20, 1<<20, "DIRECTORY_TYPE"), entryType(7<<20, 2<<20, "AUTODIR_TYPE"),
		entryType(7<<20, 3<<20, "SYMLINK_TYPE"), entryType(7<<20, 4<<20, "FILE_TYPE"), bit(23, "MAY_FREE"),
	}
	// 4.0 to 6.14.
	flags4 = []flagName{
		bit(15, "DENTRY_KILLED"),
		entryType(7<<20, 0<<20, "MISS_TYPE"), entryType(7<<20, 1<<20, "WHITEOUT_TYPE"), entryType(7<<20, 2<<20, "DIRECTORY_TYPE"),
		entryType(7<<20, 3<<20, "AUTODIR_TYPE"), entryType(7<<20, 4<<20, "REGULAR_TYPE"), entryType(7<<20, 5<<20, "SPECIAL_TYPE"),
		entryType(7<<20, 6<<20, "SYMLINK_TYPE"),
		bit(23, "MAY_FREE"), bit(24, "FALLTHRU"), bit(25, "NOKEY_NAME"), bit(26, "OP_REAL"),
		bit(28, "PAR_LOOKUP"), bit(29, "DENTRY_CURSOR"), bit(30, "NORCU"),
	}
)

// resolveFlags chooses the names of the bits of d_flags.
func (fs *FS) resolveFlags() {
	switch {
	case fs.flagsFromEnum():
	case fs.k.HasField("struct dentry", "d_mounted"):
		fs.flags = flags26
	default:
		fs.flags = fs.macroFlags()
	}
	fs.known = dentryFlags{
		referenced: fs.flagBit("REFERENCED"),
		unhashed:   fs.flagBit("UNHASHED"),
		lruList:    fs.flagBit("LRU_LIST"),
		shrinkList: fs.flagBit("SHRINK_LIST"),
		mounted:    fs.flagBit("MOUNTED"),
		entryType:  fs.flagMask("MISS_TYPE"),
		killed:     fs.flagBit("DENTRY_KILLED"),
	}
}

// macroFlags are the bits of 3.3 to 6.14. A counted s_dentry_lru beside d_lockref
// is what only RHEL 7 has; d_child moved out of d_u in 3.19, the last release
// with the entry types of 3.13 (whose own are told wrongly here); d_seq became a
// seqcount_spinlock_t in 5.9, one release after DONTCACHE came.
func (fs *FS) macroFlags() []flagName {
	list := slices.Clone(flags3)
	lockref := fs.k.HasField("struct dentry", "d_lockref")
	switch {
	case lockref && fs.super.NrUnused.Has():
		list = append(list, flagsRHEL7...)
	case fs.dentry.Sibling.Path() == "d_u.d_child.next":
		list = append(list, flags313...)
	default:
		list = append(list, flags4...)
	}
	seventh := "DONTCACHE"
	if f, err := fs.dentryField("d_seq"); err == nil && f.Type.Name == "seqcount_t" {
		seventh = "RCUACCESS"
	}
	list = append(list, bit(7, seventh))
	slices.SortStableFunc(list, func(a, b flagName) int { return cmp.Compare(a.mask, b.mask) })
	return list
}

func (fs *FS) dentryField(path string) (ctype.Field, error) {
	t, err := fs.k.Type("struct dentry")
	if err != nil {
		return ctype.Field{}, err
	}
	return t.Field(path)
}

// flagsFromEnum takes the bits from enum dentry_flags, which exists since 6.15.
func (fs *FS) flagsFromEnum() bool {
	t, err := fs.k.Type("enum dentry_flags")
	if err != nil {
		return false
	}
	mask := uint32(0)
	for _, e := range t.Enumerators() {
		if e.Name == "DCACHE_ENTRY_TYPE" {
			mask = uint32(e.Value)
		}
	}
	for _, e := range t.Enumerators() {
		name, ok := strings.CutPrefix(e.Name, "DCACHE_")
		v := uint32(e.Value)
		switch {
		case !ok || name == "ENTRY_TYPE":
		case strings.HasSuffix(name, "_TYPE") && v&^mask == 0:
			fs.flags = append(fs.flags, flagName{mask, v, name})
		case v != 0:
			fs.flags = append(fs.flags, flagName{v, v, name})
		}
	}
	return len(fs.flags) > 0
}

func (fs *FS) flagBit(name string) uint32 {
	for _, f := range fs.flags {
		if f.name == name {
			return f.value
		}
	}
	return 0
}

func (fs *FS) flagMask(name string) uint32 {
	for _, f := range fs.flags {
		if f.name == name {
			return f.mask
		}
	}
	return 0
}

// FlagNames names the bits that are set in a d_flags, as the kernel does
// without the prefix DCACHE_. Bits without a name are given as a number.
func (fs *FS) FlagNames(flags uint32) []string {
	var names []string
	rest := flags
	for _, f := range fs.flags {
		// The type "miss" is the absence of bits; a negative dentry says it.
		if flags&f.mask == f.value && (f.value != 0 || f.mask != 0) {
			names = append(names, f.name)
		}
		rest &^= f.mask
	}
	if rest != 0 {
		names = append(names, fmt.Sprintf("%#x", rest))
	}
	return names
}
