package mem

import (
	"context"
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
	"github.com/kmortem/mortem/kernel/vmalloc"
	"github.com/kmortem/mortem/kernel/zone"
)

// analysis is what the parts of one answer share.
type analysis struct {
	k     *kernel.Kernel
	fs    *vfs.FS
	zones *zone.Reader
	nodes []zone.Node
	areas []vmalloc.Area
	r     *Report
	page  uint64
}

// Analyze reads all of it. The error is that of a kernel whose zones are not known;
// everything else is part of the coverage.
func Analyze(ctx context.Context, fs *vfs.FS, opt Options) (*Report, error) {
	k := fs.Kernel()
	a := &analysis{k: k, fs: fs, page: k.PageSize(),
		r: &Report{Nodes: []Node{}, Vmalloc: []Caller{}, Coverage: k.NewCoverage()}}
	var err error
	if a.zones, err = zone.Open(k); err != nil {
		return nil, err
	}
	var errs []error
	a.nodes, errs = a.zones.Nodes()
	for _, err := range errs {
		a.fail(err)
	}
	a.readVmalloc()
	a.readHuge()
	a.readSwap()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.readInfo()
	a.describeNodes()
	a.divide()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.readCgroups()
	a.r.cut(opt.Top)
	return a.r, nil
}

func (r *Report) cut(top int) {
	if top > 0 {
		r.Vmalloc = r.Vmalloc[:min(top, len(r.Vmalloc))]
		r.Cgroups = r.Cgroups[:min(top, len(r.Cgroups))]
	}
}

// fail counts what cannot be read; what this kernel does not have is no failure.
func (a *analysis) fail(err error) {
	if !errors.Is(err, kernel.ErrNotFound) {
		a.r.Coverage.Fail(err)
	}
}

// pages is a counter in bytes, by the first of the names that the kernel has; nil where
// it has none.
func (a *analysis) pages(names ...string) *uint64 {
	n, ok := a.zones.Total(a.nodes, names...)
	if !ok {
		return nil
	}
	a.r.Coverage.Read++
	n *= a.page
	return &n
}

// value is a counter in bytes, 0 where the kernel has none.
func (a *analysis) value(names ...string) uint64 { return deref(a.pages(names...)) }

func deref(p *uint64) uint64 {
	if p == nil {
		return 0
	}
	return *p
}

// number reads a variable of 8 bytes, the first of the names that there is.
func (a *analysis) number(names ...string) (uint64, bool) {
	for _, name := range names {
		at, err := a.k.Symbol(name)
		if err != nil {
			continue
		}
		n, err := a.k.Uint64(at)
		if err != nil {
			a.fail(fmt.Errorf("%s: %w", name, err))
			return 0, false
		}
		a.r.Coverage.Read++
		return n, true
	}
	return 0, false
}

func (a *analysis) number32(name string) (uint64, bool) {
	at, err := a.k.Symbol(name)
	if err != nil {
		return 0, false
	}
	n, err := a.k.Uint32(at)
	if err != nil {
		a.fail(fmt.Errorf("%s: %w", name, err))
		return 0, false
	}
	return uint64(n), true
}

// readInfo puts together what /proc/meminfo says. Counters changed names: those of
// slabs count bytes in cgroups since 5.9 (_B) and pages here all the same, anonymous
// pages were NR_ANON_PAGES until 4.7.
func (a *analysis) readInfo() {
	i := &a.r.Info
	total, _ := a.number("_totalram_pages", "totalram_pages") // since 5.0, before
	i.MemTotal = total * a.page
	i.MemFree = a.value("NR_FREE_PAGES")
	i.Buffers = a.buffers()
	i.SwapCached = a.swapCached()
	files := a.value("NR_FILE_PAGES")
	i.Cached = files - min(files, i.SwapCached+i.Buffers)
	i.Active = sum(a.pages("NR_ACTIVE_ANON", "NR_ACTIVE"), a.pages("NR_ACTIVE_FILE"))
	i.Inactive = sum(a.pages("NR_INACTIVE_ANON", "NR_INACTIVE"), a.pages("NR_INACTIVE_FILE"))
	i.Unevictable, i.Mlocked = a.pages("NR_UNEVICTABLE"), a.pages("NR_MLOCK")
	i.Dirty, i.Writeback = a.pages("NR_FILE_DIRTY"), a.pages("NR_WRITEBACK")
	i.AnonPages, i.Mapped = a.pages("NR_ANON_MAPPED", "NR_ANON_PAGES"), a.pages("NR_FILE_MAPPED")
	i.Shmem = a.pages("NR_SHMEM")
	i.SReclaimable = a.value("NR_SLAB_RECLAIMABLE_B", "NR_SLAB_RECLAIMABLE")
	i.SUnreclaim = a.value("NR_SLAB_UNRECLAIMABLE_B", "NR_SLAB_UNRECLAIMABLE")
	i.Slab = i.SReclaimable + i.SUnreclaim
	if misc := a.pages("NR_KERNEL_MISC_RECLAIMABLE"); misc != nil {
		i.KReclaimable = sum(&i.SReclaimable, misc)
	}
	i.KernelStack = a.stacks()
	i.PageTables, i.SecPageTables = a.pages("NR_PAGETABLE"), a.pages("NR_SECONDARY_PAGETABLE")
	i.Bounce, i.CmaFree = a.pages("NR_BOUNCE"), a.pages("NR_FREE_CMA_PAGES")
	i.VmallocUsed = a.vmallocUsed()
	i.Percpu = a.percpu()
	i.AnonHugePages = a.hugeAnon()
	if n, ok := a.number("num_poisoned_pages"); ok {
		n *= a.page
		i.HardwareCorrupted = &n
	}
	for _, h := range a.r.Huge {
		i.Hugetlb += h.Total * h.PageSize
	}
	a.commit()
	a.available()
}

func sum(list ...*uint64) *uint64 {
	n := uint64(0)
	for _, p := range list {
		if p == nil {
			return nil
		}
		n += *p
	}
	return &n
}

// stacks is the memory of kernel stacks: counted in KiB since 4.9, in stacks before.
func (a *analysis) stacks() *uint64 {
	if n, ok := a.zones.Total(a.nodes, "NR_KERNEL_STACK_KB"); ok {
		n <<= 10
		return &n
	}
	n, ok := a.zones.Total(a.nodes, "NR_KERNEL_STACK")
	if !ok {
		return nil
	}
	size := uint64(16384)
	if t, err := a.k.Type("union thread_union"); err == nil && t.Size() > 0 && t.Size() <= 1<<20 {
		size = uint64(t.Size())
	}
	n *= size
	return &n
}

// hugeAnon is the memory in transparent huge pages, which are counted as such until
// 5.10 and in pages since: since then there is NR_FILE_THPS beside NR_SWAPCACHE.
func (a *analysis) hugeAnon() *uint64 {
	n := a.pages("NR_ANON_THPS", "NR_ANON_TRANSPARENT_HUGEPAGES")
	if n != nil && !a.zones.Has("NR_SWAPCACHE") { // both came with 5.11 and 5.12
		*n *= 512
	}
	return n
}

// percpu is the memory of all per-CPU areas, known since 4.20.
func (a *analysis) percpu() *uint64 {
	pages, ok1 := a.number32("pcpu_nr_populated")
	if _, err := a.k.Symbol("pcpu_nr_populated"); err != nil || !ok1 {
		return nil
	}
	units, ok := a.number32("pcpu_nr_units")
	if !ok {
		return nil
	}
	n := pages * units * a.page
	return &n
}

// vmallocUsed is counted since 5.3, as NR_VMALLOC in 7.x; before it is what the areas
// have.
func (a *analysis) vmallocUsed() uint64 {
	if n := a.pages("NR_VMALLOC"); n != nil {
		return *n
	}
	if n, ok := a.number("nr_vmalloc_pages"); ok {
		return n * a.page
	}
	n := uint64(0)
	for _, area := range a.areas {
		n += area.Pages * a.page
	}
	return n
}

// commit is what was promised to processes, and how much may be.
func (a *analysis) commit() {
	i := &a.r.Info
	i.CommittedAS = a.percpuCounter("vm_committed_as") * a.page
	ratio, _ := a.number32("sysctl_overcommit_ratio")
	kbytes, _ := a.number("sysctl_overcommit_kbytes")
	if !a.k.HasSymbol("sysctl_overcommit_kbytes") { // since 3.14
		kbytes = 0
	}
	allowed := kbytes << 10
	if allowed == 0 {
		allowed = (i.MemTotal - min(i.MemTotal, i.Hugetlb)) / a.page * ratio / 100 * a.page
	}
	i.CommitLimit = allowed + i.SwapTotal
}

// percpuCounter reads a struct percpu_counter with what the processors have not yet
// added.
func (a *analysis) percpuCounter(name string) uint64 {
	at, err := a.k.Symbol(name)
	if err != nil {
		return 0
	}
	var l struct {
		kernel.Layout `kernel:"struct percpu_counter"`
		Count         kernel.U64 `kernel:"count"`
		Counters      kernel.U64 `kernel:"counters,optional"`
	}
	if err := a.k.Resolve(&l); err != nil {
		return 0
	}
	b, err := a.k.Peek(at, make([]byte, l.Span()))
	if err != nil {
		a.fail(fmt.Errorf("%s: %w", name, err))
		return 0
	}
	n := int64(l.Count.Get(b))
	if l.Counters.Has() && l.Counters.Get(b) != 0 {
		for _, cpu := range a.k.CPUAreas() {
			v, err := a.k.Uint32(l.Counters.Get(b) + cpu.Offset)
			if err != nil {
				a.fail(fmt.Errorf("%s of CPU %d: %w", name, cpu.CPU, err))
				continue
			}
			n += int64(int32(v))
		}
	}
	return uint64(max(0, n))
}

// available is MemAvailable (mm/show_mem.c: si_mem_available, since 3.14): free memory
// less what is reserved, and what can be given up without swapping, but for half of it
// or the low watermarks.
func (a *analysis) available() {
	reserve, ok := a.number("totalreserve_pages")
	if !ok {
		return
	}
	i := &a.r.Info
	low := uint64(0)
	for _, n := range a.nodes {
		for _, z := range n.Zones {
			if len(z.Watermarks) > 1 {
				low += z.Watermarks[1] * a.page
			}
		}
	}
	part := func(n uint64) uint64 { return n - min(n/2, low) }
	n := i.MemFree - min(i.MemFree, reserve*a.page)
	n += part(a.value("NR_ACTIVE_FILE") + a.value("NR_INACTIVE_FILE"))
	n += part(i.SReclaimable + a.value("NR_KERNEL_MISC_RECLAIMABLE"))
	i.MemAvailable = &n
}
