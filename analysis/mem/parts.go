package mem

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vmalloc"
	"github.com/kmortem/mortem/kernel/zone"
)

// buffers is the page cache of block devices (fs/buffer.c, block/bdev.c:
// nr_blockdev_pages).
func (a *analysis) buffers() uint64 {
	mapping, err := a.offset("struct inode", "i_mapping")
	if err != nil {
		return 0
	}
	pages, err := a.offset("struct address_space", "nrpages")
	if err != nil {
		return 0
	}
	n := uint64(0)
	for sb, err := range a.fs.SuperBlocks() {
		if err != nil {
			a.fail(err)
		}
		if sb == nil || sb.Type != "bdev" {
			continue
		}
		for inode, err := range a.fs.Inodes(sb) {
			if err != nil {
				a.fail(fmt.Errorf("inodes of block devices: %w", err))
				break
			}
			at, err := a.k.Uint64(inode + mapping)
			if err == nil {
				at, err = a.k.Uint64(at + pages)
			}
			if err != nil {
				a.fail(fmt.Errorf("page cache of the block device with inode %#x: %w", inode, err))
				continue
			}
			n += at
		}
	}
	return n * a.page
}

func (a *analysis) offset(typeName, member string) (uint64, error) {
	t, err := a.k.Type(typeName)
	if err != nil {
		return 0, err
	}
	f, err := t.Field(member)
	return uint64(f.Offset), err
}

// swapCached are pages of the swap cache: a counter since 5.12; before, the address
// spaces of the swap areas, one for all in 2.6.32, one each until 4.10, and several each
// until 5.11.
func (a *analysis) swapCached() uint64 {
	if n := a.pages("NR_SWAPCACHE"); n != nil {
		return *n
	}
	t, err := a.k.Type("struct address_space")
	if err != nil {
		return 0
	}
	pages, err := a.offset("struct address_space", "nrpages")
	if err != nil {
		return 0
	}
	at, err := a.k.Symbol("swapper_space")
	count := uint64(1)
	if err != nil {
		if at, err = a.k.Symbol("swapper_spaces"); err != nil {
			return 0
		}
		if a.k.HasSymbol("nr_swapper_spaces") {
			return a.swapSpaces(at, uint64(t.Size()), pages)
		}
		if v, err := a.k.Info().Variable("swapper_spaces"); err == nil && v.Strip().Count > 0 {
			count = min(uint64(v.Strip().Count), maxSwapFiles)
		}
	}
	return a.spaces(at, count, uint64(t.Size()), pages)
}

const maxSwapFiles = 64

func (a *analysis) spaces(at, count, size, pages uint64) uint64 {
	n := uint64(0)
	for i := range count {
		v, err := a.k.Uint64(at + i*size + pages)
		if err != nil {
			a.fail(fmt.Errorf("swap cache: %w", err))
			break
		}
		n += v
	}
	return n * a.page
}

// swapSpaces adds up the arrays of address spaces that swapper_spaces points to.
func (a *analysis) swapSpaces(at, size, pages uint64) uint64 {
	counts, err := a.k.Symbol("nr_swapper_spaces")
	if err != nil {
		return 0
	}
	n := uint64(0)
	for i := range uint64(maxSwapFiles / 2) {
		array, err1 := a.k.Uint64(at + 8*i)
		count, err2 := a.k.Uint32(counts + 4*i)
		if err1 != nil || err2 != nil || array == 0 || count == 0 || count > 1<<20 {
			break
		}
		n += a.spaces(array, uint64(count), size, pages)
	}
	return n
}

// readHuge reads the pools of huge pages (struct hstate, include/linux/hugetlb.h).
func (a *analysis) readHuge() {
	var l struct {
		kernel.Layout `kernel:"struct hstate"`
		Order         kernel.U32 `kernel:"order"`
		Total         kernel.U64 `kernel:"nr_huge_pages"`
		Free          kernel.U64 `kernel:"free_huge_pages"`
		Reserved      kernel.U64 `kernel:"resv_huge_pages"`
		Surplus       kernel.U64 `kernel:"surplus_huge_pages"`
		Overcommit    kernel.U64 `kernel:"nr_overcommit_huge_pages"`
	}
	at, err := a.k.Symbol("hstates")
	count, ok := a.number32("hugetlb_max_hstate")
	if err != nil || !ok || a.k.Resolve(&l) != nil {
		return // the kernel has none
	}
	for i := range min(count, 8) {
		b, err := a.k.Peek(at+i*uint64(l.Size()), make([]byte, l.Span()))
		if err != nil {
			a.fail(fmt.Errorf("hstates[%d]: %w", i, err))
			continue
		}
		if l.Order.Get(b) > 32 {
			a.fail(fmt.Errorf("hstates[%d]: pages of order %d", i, l.Order.Get(b)))
			continue
		}
		a.r.Huge = append(a.r.Huge, HugePool{PageSize: a.page << l.Order.Get(b), Total: l.Total.Get(b), Free: l.Free.Get(b),
			Reserved: l.Reserved.Get(b), Surplus: l.Surplus.Get(b), Overcommit: l.Overcommit.Get(b)})
	}
}

// readVmalloc adds the areas up by who took them.
func (a *analysis) readVmalloc() {
	r, err := vmalloc.Open(a.k)
	if err != nil {
		a.fail(err)
		return
	}
	var errs []error
	a.areas, errs = r.Sorted()
	for _, err := range errs {
		a.fail(err)
	}
	byCaller := make(map[string]*Caller)
	for _, area := range a.areas {
		name := "(no vm_struct: vm_map_ram and the like)"
		switch {
		case area.Caller != 0:
			name, _, _ = strings.Cut(a.k.SymbolName(area.Caller), "+")
		case area.Flags != 0:
			name = "(caller not recorded)"
		}
		c := byCaller[name]
		if c == nil {
			c = &Caller{Caller: name}
			byCaller[name] = c
		}
		c.Areas++
		c.Bytes += area.Size
		c.Memory += area.Pages * a.page
	}
	for _, c := range byCaller {
		a.r.Vmalloc = append(a.r.Vmalloc, *c)
	}
	slices.SortFunc(a.r.Vmalloc, func(x, y Caller) int {
		return cmp.Or(cmp.Compare(y.Memory, x.Memory), cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.Caller, y.Caller))
	})
	a.r.Coverage.Read += uint64(len(a.areas))
}

// describeNodes makes results of nodes and zones.
func (a *analysis) describeNodes() {
	for i := range a.nodes {
		n := &a.nodes[i]
		out := Node{Node: n.ID, Present: n.Present * a.page, Zones: []Zone{}}
		for j := range n.Zones {
			z := &n.Zones[j]
			a.r.Coverage.Read++
			zone := a.describeZone(z)
			out.Free += zone.Free
			if z.Present > 0 || z.Spanned > 0 {
				out.Zones = append(out.Zones, zone)
			}
		}
		a.r.Nodes = append(a.r.Nodes, out)
	}
}

func (a *analysis) describeZone(z *zone.Zone) Zone {
	out := Zone{Name: z.Name, Addr: kernel.Addr(z.Addr), Present: z.Present * a.page, Managed: z.Managed * a.page,
		Boost: z.Boost * a.page, Blocks: z.Free, CPUs: []CPUPages{}}
	if n, ok := a.zones.OfZone(z, "NR_FREE_PAGES"); ok {
		out.Free = uint64(max(0, n)) * a.page
	}
	marks := []*uint64{&out.Min, &out.Low, &out.High}
	for i := range min(len(marks), len(z.Watermarks)) {
		*marks[i] = z.Watermarks[i] * a.page
	}
	switch {
	case z.Managed == 0:
	case out.Free < out.Min:
		out.Below = "min"
	case out.Free < out.Low:
		out.Below = "low"
	case out.Free < out.High:
		out.Below = "high"
	}
	for _, c := range z.CPUs {
		out.CPUs = append(out.CPUs, CPUPages{CPU: c.CPU, Pages: c.Count, High: c.High})
		out.Kept += uint64(max(0, c.Count)) * a.page
	}
	return out
}

// divide divides the memory. Pages that processors keep are in no counter of free ones;
// stacks are vmalloc areas where they are allocated so (CONFIG_VMAP_STACK, since 4.9).
func (a *analysis) divide() {
	i := &a.r.Info
	kept := uint64(0)
	for _, n := range a.r.Nodes {
		for _, z := range n.Zones {
			kept += z.Kept
		}
	}
	left := int64(i.MemTotal)
	add := func(name string, bytes uint64) {
		left -= int64(bytes)
		a.r.Uses = append(a.r.Uses, Use{name, int64(bytes)})
	}
	add("free", i.MemFree)
	add("free, kept by processors", kept)
	add("anonymous", deref(i.AnonPages))
	add("page cache", i.Cached-min(i.Cached, deref(i.Shmem)))
	add("shared memory and tmpfs", min(i.Cached, deref(i.Shmem)))
	add("buffers", i.Buffers)
	add("swap cache", i.SwapCached)
	add("slab, reclaimable", i.SReclaimable)
	add("slab, not reclaimable", i.SUnreclaim)
	add("page tables", deref(i.PageTables)+deref(i.SecPageTables))
	if a.k.HasField("struct task_struct", "stack_vm_area") {
		add("vmalloc, kernel stacks included", i.VmallocUsed)
	} else {
		add("kernel stacks", deref(i.KernelStack))
		add("vmalloc", i.VmallocUsed)
	}
	add("per-CPU areas", deref(i.Percpu))
	add("huge pages", i.Hugetlb)
	a.r.Uses = append(a.r.Uses, Use{"explained by no counter", left})
}
