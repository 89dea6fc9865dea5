package slab

// Flag is one of the flags of caches (include/linux/slab.h).
type Flag string

// The flags that are known here, by the kernel's names without SLAB_.
const (
	FlagRedZone   Flag = "RED_ZONE"
	FlagPoison    Flag = "POISON"
	FlagStoreUser Flag = "STORE_USER" // each object has records of who took and freed it
	FlagHWAlign   Flag = "HWCACHE_ALIGN"
	FlagReclaim   Flag = "RECLAIM_ACCOUNT"
	FlagPanic     Flag = "PANIC"
	FlagTypesafe  Flag = "TYPESAFE_BY_RCU" // DESTROY_BY_RCU until 4.11
	FlagTrace     Flag = "TRACE"
	FlagAccount   Flag = "ACCOUNT"
	FlagNoMerge   Flag = "NO_MERGE"
	FlagDMA       Flag = "CACHE_DMA"
)

type flagMask struct {
	name Flag
	mask uint64
}

// oldFlags have had the same bits from 2.6.32 to 6.8, as macros.
var oldFlags = []flagMask{
	{FlagRedZone, 0x400}, {FlagPoison, 0x800}, {FlagHWAlign, 0x2000}, {FlagDMA, 0x4000},
	{FlagStoreUser, 0x10000}, {FlagReclaim, 0x20000}, {FlagPanic, 0x40000}, {FlagTypesafe, 0x80000},
	{FlagTrace, 0x200000}, {FlagAccount, 0x4000000},
}

// findFlags finds the bits of the flags: those of enum _slab_flag_bits since 6.9.
func (s *Allocations) findFlags() {
	if _, _, err := s.k.Info().Enumerator("_SLAB_POISON"); err != nil {
		s.flags = oldFlags
		return
	}
	for _, name := range []Flag{FlagRedZone, FlagPoison, FlagHWAlign, FlagDMA, FlagStoreUser, FlagReclaim,
		FlagPanic, FlagTypesafe, FlagTrace, FlagAccount, FlagNoMerge} {
		if bit, _, err := s.k.Info().Enumerator("_SLAB_" + string(name)); err == nil && bit >= 0 && bit < 64 {
			s.flags = append(s.flags, flagMask{name, 1 << bit})
		}
	}
}

// Has tells whether the cache has a flag.
func (c *Cache) Has(flag Flag) bool {
	for _, f := range c.s.flags {
		if f.name == flag {
			return c.Flags&f.mask != 0
		}
	}
	return false
}

// FlagNames are the names of the cache's flags, of those that are known.
func (c *Cache) FlagNames() []string {
	var names []string
	for _, f := range c.s.flags {
		if c.Flags&f.mask != 0 {
			names = append(names, string(f.name))
		}
	}
	return names
}
