package page

import (
	"math/bits"

	"github.com/kmortem/mortem/kernel"
)

// place is where page flags have the node and zone: from the highest bit down
// section (CONFIG_SPARSEMEM without VMEMMAP), node, zone
// (include/linux/page-flags-layout.h). Widths follow from MAX_NUMNODES and
// MAX_NR_ZONES.
type place struct {
	nodeShift, nodeBits uint
	zoneShift, zoneBits uint
}

func (p *place) resolve(k *kernel.Kernel, form Form) {
	zones, _, err := k.Info().Enumerator("__MAX_NR_ZONES")
	if err != nil || zones < 1 || zones > 16 {
		return
	}
	nodes := k.MaxNodes()
	if nodes == 0 {
		return
	}
	at := uint(64)
	if form == Sparse {
		at -= 46 - 27 // MAX_PHYSMEM_BITS - SECTION_SIZE_BITS
	}
	p.nodeBits = uint(bits.Len64(nodes - 1))
	p.nodeShift = at - p.nodeBits
	p.zoneBits = uint(bits.Len64(uint64(zones) - 1))
	p.zoneShift = p.nodeShift - p.zoneBits
}

// Node is the NUMA node of a page, -1 where the debug information does not tell
// how many there can be.
func (m *Map) Node(p *Page) int {
	if m.place.zoneShift == 0 {
		return -1
	}
	return int(p.Flags >> m.place.nodeShift & (1<<m.place.nodeBits - 1))
}

// Zone is the zone of a page as a number of enum zone_type, -1 where that is not
// known.
func (m *Map) Zone(p *Page) int {
	if m.place.zoneShift == 0 {
		return -1
	}
	return int(p.Flags >> m.place.zoneShift & (1<<m.place.zoneBits - 1))
}
