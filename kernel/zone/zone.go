// Package zone reads what the page allocator keeps of memory: NUMA nodes, their zones
// with watermarks and free blocks, each processor's own free pages, and the counters
// of what pages are used for (include/linux/mmzone.h, mm/vmstat.c).
package zone

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
)

// Reader knows the layouts.
type Reader struct {
	k        *kernel.Kernel
	node     nodeLayout
	zone     zoneLayout
	area     areaLayout
	pages    pagesLayout
	pagesAt  uint64 // where in per_cpu_pageset they are
	diff     diffLayout
	nodeDiff nodeDiffLayout
	items    map[string]item
	cpus     []kernel.CPUArea
	own      ownLayout
	sets     setsLayout // resolved instead of own where pageset is an array of pointers
}

// nodeLayout is struct pglist_data. It has counters since 4.8.
type nodeLayout struct {
	kernel.Layout `kernel:"struct pglist_data"`
	Zones         kernel.Offset `kernel:"node_zones"`
	Count         kernel.U32    `kernel:"nr_zones"`
	Start         kernel.U64    `kernel:"node_start_pfn"`
	Present       kernel.U64    `kernel:"node_present_pages"`
	Spanned       kernel.U64    `kernel:"node_spanned_pages"`
	Stat          kernel.Bytes  `kernel:"vm_stat,optional"`
	PerCPU        kernel.U64    `kernel:"per_cpu_nodestats,optional"`
}

// zoneLayout is struct zone. managed_pages is there since 3.8; watermark became
// _watermark in 4.20; pageset is an array of pointers in 2.6.32, per CPU since 2.6.34,
// and was divided into per_cpu_pageset and per_cpu_zonestats in 5.14.
type zoneLayout struct {
	kernel.Layout `kernel:"struct zone"`
	Label         kernel.U64   `kernel:"name"`
	Start         kernel.U64   `kernel:"zone_start_pfn"`
	Spanned       kernel.U64   `kernel:"spanned_pages"`
	Present       kernel.U64   `kernel:"present_pages"`
	Managed       kernel.U64   `kernel:"managed_pages.counter|managed_pages,optional"`
	Watermarks    kernel.Bytes `kernel:"_watermark|watermark"`
	Boost         kernel.U64   `kernel:"watermark_boost,optional"`
	Protection    kernel.Bytes `kernel:"lowmem_reserve"`
	Areas         kernel.Bytes `kernel:"free_area"`
	Stat          kernel.Bytes `kernel:"vm_stat"`
}

// ownLayout is where of a zone what the processors have for themselves is; setsLayout is
// that of 2.6.32.
type ownLayout struct {
	kernel.Layout `kernel:"struct zone"`
	PerCPU        kernel.U64 `kernel:"per_cpu_pageset|pageset,optional"`
	Diffs         kernel.U64 `kernel:"per_cpu_zonestats,optional"`
}

type setsLayout struct {
	kernel.Layout `kernel:"struct zone"`
	Sets          kernel.Offset `kernel:"pageset[0]"`
}

type areaLayout struct {
	kernel.Layout `kernel:"struct free_area"`
	Free          kernel.U64 `kernel:"nr_free"`
}

type pagesLayout struct {
	kernel.Layout `kernel:"struct per_cpu_pages"`
	Count         kernel.I32 `kernel:"count"`
	High          kernel.I32 `kernel:"high"`
	Batch         kernel.I32 `kernel:"batch"`
}

// diffLayout is what of a zone's counters a processor has not yet added: part of
// per_cpu_pageset until 5.13.
type diffLayout struct {
	kernel.Layout `kernel:"struct per_cpu_pageset"`
	Diff          kernel.Bytes `kernel:"vm_stat_diff,optional"`
}

type newDiffLayout struct {
	kernel.Layout `kernel:"struct per_cpu_zonestat"`
	Diff          kernel.Bytes `kernel:"vm_stat_diff,optional"`
}

type nodeDiffLayout struct {
	kernel.Layout `kernel:"struct per_cpu_nodestat"`
	Diff          kernel.Bytes `kernel:"vm_node_stat_diff"`
}

// item is a counter: a number of enum zone_stat_item, or of enum node_stat_item.
type item struct {
	ofNode bool
	index  int
}

// Open resolves the layouts. They are those of struct pglist_data, zone,
// free_area and per_cpu_pages (include/linux/mmzone.h). The error wraps
// kernel.ErrNotFound where the kernel lacks one of them.
func Open(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k, items: make(map[string]item), cpus: k.CPUAreas()}
	for _, l := range []any{&r.node, &r.area, &r.pages} {
		if err := k.Resolve(l); err != nil {
			return nil, fmt.Errorf("zones: %w", err)
		}
	}
	if err := r.resolveZone(); err != nil {
		return nil, fmt.Errorf("zones: %w", err)
	}
	for _, enum := range []string{"enum zone_stat_item", "enum node_stat_item"} {
		t, err := k.Type(enum)
		if err != nil {
			if enum == "enum node_stat_item" {
				break // until 4.7 all counters are of zones
			}
			return nil, fmt.Errorf("zones: %w", err)
		}
		for _, e := range t.Enumerators() {
			if e.Value >= 0 && e.Value < 1024 {
				r.items[e.Name] = item{enum == "enum node_stat_item", int(e.Value)}
			}
		}
	}
	return r, nil
}

// resolveZone tells the forms of a zone's per-CPU part apart.
func (r *Reader) resolveZone() error {
	k := r.k
	if err := k.Resolve(&r.zone); err != nil {
		return err
	}
	own := any(&r.own)
	if k.HasField("struct zone", "pageset[0]") { // no pointer that could be one member
		own = &r.sets
	}
	if err := k.Resolve(own); err != nil {
		return err
	}
	if t, err := k.Type("struct per_cpu_pageset"); err == nil {
		f, err := t.Field("pcp")
		if err != nil {
			return err
		}
		r.pagesAt = uint64(f.Offset)
		if err := k.Resolve(&r.diff); err != nil {
			return err
		}
	} else if k.HasType("struct per_cpu_zonestat") {
		var l newDiffLayout
		if err := k.Resolve(&l); err != nil {
			return err
		}
		r.diff = diffLayout(l)
	}
	if k.HasType("struct per_cpu_nodestat") {
		return k.Resolve(&r.nodeDiff)
	}
	return nil
}

// Node is one NUMA node, by kernel virtual address: struct pglist_data
// (include/linux/mmzone.h).
type Node struct {
	ID      int
	Addr    uint64 // of the struct pglist_data
	Start   uint64 // PFN
	Present uint64 // pages that are there
	Spanned uint64 // pages, holes included
	Zones   []Zone

	stat []int64
}

// Zone is one zone of a node: struct zone (include/linux/mmzone.h). All sizes
// are in pages, addresses are kernel virtual ones.
type Zone struct {
	Node    int
	Index   int // in enum zone_type
	Name    string
	Addr    uint64 // of the struct zone
	Start   uint64 // PFN
	Spanned uint64 // holes included
	Present uint64
	Managed uint64 // that the page allocator has; Present where the kernel does not tell
	// Watermarks are min, low and high, and since 5.18 promo, as the boost raises them.
	Watermarks []uint64
	Boost      uint64
	Protection []int64  // lowmem_reserve: free pages kept from allocations that could be of zone i
	Free       []uint64 // blocks by order
	CPUs       []CPUPages

	stat []int64
}

// CPUPages are the free pages of a zone that a processor keeps for itself. They are not
// among the free ones.
type CPUPages struct {
	CPU   int
	Count int
	High  int // how many it keeps at most
	Batch int // how many it takes at once
}

// FreePages is how many pages the free blocks have.
func (z *Zone) FreePages() uint64 {
	n := uint64(0)
	for order, blocks := range z.Free {
		n += blocks << order
	}
	return n
}

// maxZones bounds the zones of a node; enum zone_type has 6.
const maxZones = 16

// Nodes reads all nodes and their zones. What can be read comes with the errors.
func (r *Reader) Nodes() (nodes []Node, errs []error) {
	list, err := r.k.Nodes()
	if err != nil {
		return nil, []error{err}
	}
	l := &r.node
	for _, n := range list {
		// The structure has 170 kB in some builds: only what is wanted is read.
		b := make([]byte, l.Span()+8)
		var err error
		for _, at := range []uint64{l.Start.Offset(), l.Present.Offset(), l.Spanned.Offset(), l.Count.Offset() &^ 7} {
			if _, readErr := r.k.Read(b[at:at+8], n.Addr+at); readErr != nil {
				err = readErr
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("struct pglist_data of node %d: %w", n.ID, err))
		}
		node := Node{ID: n.ID, Addr: n.Addr, Start: l.Start.Get(b), Present: l.Present.Get(b), Spanned: l.Spanned.Get(b)}
		if l.Stat.Has() {
			errs = append(errs, r.nodeStat(&node, b)...)
		}
		count := min(l.Count.Get(b), maxZones)
		for i := range int(count) {
			z, zoneErrs := r.readZone(n.ID, i, n.Addr+l.Zones.Offset()+uint64(i*r.zone.Size()))
			for _, err := range zoneErrs {
				errs = append(errs, fmt.Errorf("zone %d of node %d: %w", i, n.ID, err))
			}
			if z != nil {
				node.Zones = append(node.Zones, *z)
			}
		}
		nodes = append(nodes, node)
	}
	return nodes, errs
}

// nodeStat reads a node's counters.
func (r *Reader) nodeStat(n *Node, b []byte) []error {
	l := &r.node
	for _, part := range [][2]uint64{{l.Stat.Offset(), uint64(l.Stat.Len())}, {l.PerCPU.Offset(), 8}} {
		if _, err := r.k.Read(b[part[0]:part[0]+part[1]], n.Addr+part[0]); err != nil {
			return []error{fmt.Errorf("struct pglist_data of node %d: its counters: %w", n.ID, err)}
		}
	}
	n.stat = words(l.Stat.Get(b))
	return r.addDiffs(n.stat, l.PerCPU, b, r.nodeDiff.Diff, r.nodeDiff.Span())
}

func words(b []byte) []int64 {
	list := make([]int64, len(b)/8)
	for i := range list {
		list[i] = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return list
}

// addDiffs adds what the processors have not yet added to counters: a signed byte each.
func (r *Reader) addDiffs(stat []int64, pointer kernel.U64, b []byte, diff kernel.Bytes, span int) (errs []error) {
	if !pointer.Has() || !diff.Has() || pointer.Get(b) == 0 {
		return nil
	}
	buf := make([]byte, span)
	for _, cpu := range r.cpus {
		d, err := r.k.Peek(pointer.Get(b)+cpu.Offset, buf)
		if err != nil {
			errs = append(errs, fmt.Errorf("counters of CPU %d: %w", cpu.CPU, err))
			continue
		}
		addDiff(stat, diff.Get(d))
	}
	return errs
}

func addDiff(stat []int64, diff []byte) {
	for i := range min(len(stat), len(diff)) {
		stat[i] += int64(int8(diff[i]))
	}
}

func (r *Reader) readZone(node, index int, addr uint64) (*Zone, []error) {
	l := &r.zone
	b := make([]byte, max(l.Span(), r.own.Span()))
	if _, err := r.k.Read(b, addr); err != nil {
		return nil, []error{err}
	}
	z := &Zone{Node: node, Index: index, Addr: addr, Start: l.Start.Get(b), Spanned: l.Spanned.Get(b), Present: l.Present.Get(b)}
	z.Managed = z.Present
	if l.Managed.Has() {
		z.Managed = l.Managed.Get(b)
	}
	if l.Boost.Has() {
		z.Boost = l.Boost.Get(b)
	}
	for _, w := range words(l.Watermarks.Get(b)) {
		z.Watermarks = append(z.Watermarks, uint64(w)+z.Boost)
	}
	z.Protection, z.stat = words(l.Protection.Get(b)), words(l.Stat.Get(b))
	areas := l.Areas.Get(b)
	for at := 0; at+r.area.Size() <= len(areas); at += r.area.Size() {
		z.Free = append(z.Free, r.area.Free.Get(areas[at:]))
	}
	var errs []error
	name, err := r.k.CString(l.Label.Get(b), 32)
	if z.Name = cstr.Show(name); err != nil {
		errs = append(errs, fmt.Errorf("its name: %w", err))
	}
	errs = append(errs, r.readSets(z, b)...)
	if r.own.Diffs.Has() {
		errs = append(errs, r.addDiffs(z.stat, r.own.Diffs, b, r.diff.Diff, r.diff.Span())...)
	}
	return z, errs
}

// readSets reads the pages that processors keep, and until 5.13 their counters beside.
func (r *Reader) readSets(z *Zone, b []byte) (errs []error) {
	if !r.sets.Sets.Has() && (!r.own.PerCPU.Has() || r.own.PerCPU.Get(b) == 0) {
		return nil
	}
	buf := make([]byte, max(r.pages.Span()+int(r.pagesAt), r.diff.Span()))
	for _, cpu := range r.cpus {
		at := uint64(0)
		var err error
		if r.sets.Sets.Has() {
			at, err = r.k.Uint64(z.Addr + r.sets.Sets.Offset() + 8*uint64(cpu.CPU))
		} else {
			at = r.own.PerCPU.Get(b) + cpu.Offset
		}
		var set []byte
		if err == nil {
			set, err = r.k.Peek(at, buf)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("the pages that CPU %d keeps: %w", cpu.CPU, err))
			continue
		}
		p := set[r.pagesAt:]
		z.CPUs = append(z.CPUs, CPUPages{CPU: cpu.CPU, Count: int(r.pages.Count.Get(p)), High: int(r.pages.High.Get(p)), Batch: int(r.pages.Batch.Get(p))})
		if !r.own.Diffs.Has() && r.diff.Diff.Has() {
			addDiff(z.stat, r.diff.Diff.Get(set))
		}
	}
	return errs
}

// Has tells whether the kernel has a counter, such as "NR_FILE_PAGES".
func (r *Reader) Has(name string) bool {
	_, ok := r.items[name]
	return ok
}

// first is the first of some counters that the kernel has.
func (r *Reader) first(names []string) (item, bool) {
	for _, name := range names {
		if it, ok := r.items[name]; ok {
			return it, true
		}
	}
	return item{}, false
}

func at(list []int64, i int) int64 {
	if i < len(list) {
		return list[i]
	}
	return 0
}

// OfZone is a zone's counter, the first of the names that the kernel has, with what the
// processors have not yet added. It is false where it is none of zones.
func (r *Reader) OfZone(z *Zone, names ...string) (int64, bool) {
	it, ok := r.first(names)
	return at(z.stat, it.index), ok && !it.ofNode
}

// OfNode is a counter of a node: its own, or the sum over its zones.
func (r *Reader) OfNode(n *Node, names ...string) (int64, bool) {
	it, ok := r.first(names)
	if !ok {
		return 0, false
	}
	if it.ofNode {
		return at(n.stat, it.index), true
	}
	sum := int64(0)
	for i := range n.Zones {
		sum += at(n.Zones[i].stat, it.index)
	}
	return sum, true
}

// Total is the sum of a counter over nodes, never below 0, as the kernel shows it.
func (r *Reader) Total(nodes []Node, names ...string) (uint64, bool) {
	sum, found := int64(0), false
	for i := range nodes {
		n, ok := r.OfNode(&nodes[i], names...)
		sum, found = sum+n, found || ok
	}
	return uint64(max(0, sum)), found
}
