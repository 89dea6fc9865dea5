// Package whatis answers what lies at an address of the dumped kernel: a symbol, a
// task's stack, a slab object, a page, a vmalloc area, a module, a per-CPU variable.
// More than one may be true.
package whatis

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/variable"
	"github.com/kmortem/mortem/kernel/vmalloc"
)

// Report is the answer.
type Report struct {
	Addr     kernel.Addr     `json:"addr"`           // virtual address
	Phys     *kernel.Addr    `json:"phys,omitempty"` // physical address; none where the page tables have none
	Answers  []Answer        `json:"answers"`
	Coverage kernel.Coverage `json:"coverage"`
}

// Answer is one thing that is true of the address.
type Answer struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"` // in one line
	// What it belongs to begins at Start and the address lies Offset bytes into it.
	Start  kernel.Addr `json:"start,omitempty"`
	Offset uint64      `json:"offset,omitempty"`
	Size   uint64      `json:"size,omitempty"`
	Name   string      `json:"name,omitempty"` // of the symbol, cache, module, variable or task
	Free   bool        `json:"free,omitempty"` // of a slab object or page: it is not in use
	// Doubt says why an answer may be wrong.
	Doubt string `json:"doubt,omitempty"`
	// Task that it belongs to, where it does.
	PID   *int32  `json:"pid,omitempty"`
	CPU   *int    `json:"cpu,omitempty"`
	PFN   *uint64 `json:"pfn,omitempty"`
	Flags string  `json:"flags,omitempty"` // of a page
}

// Kind is what an address can be.
type Kind string

// The kinds of answers.
const (
	Symbol     Kind = "symbol"
	Stack      Kind = "stack"
	Task       Kind = "task"
	SlabObject Kind = "slab object"
	Slab       Kind = "slab"        // the room between objects
	Page       Kind = "page"        // in the direct mapping
	StructPage Kind = "struct page" // in the array that describes pages
	Vmalloc    Kind = "vmalloc area"
	Module     Kind = "module"
	PerCPU     Kind = "per-CPU variable"
	Unmapped   Kind = "not mapped"
)

// looker collects answers.
type looker struct {
	k *kernel.Kernel
	r *Report
}

// Look says what lies at a kernel virtual address. What cannot be read is part of the
// coverage; an address that is nothing has the one answer Unmapped, or none.
func Look(k *kernel.Kernel, addr uint64) *Report {
	l := &looker{k: k, r: &Report{Addr: kernel.Addr(addr), Answers: []Answer{}, Coverage: k.NewCoverage()}}
	phys, _, err := k.Translate(addr)
	if err == nil {
		p := kernel.Addr(phys)
		l.r.Phys = &p
	}
	l.symbol(addr)
	l.module(addr)
	l.percpu(addr)
	l.tasks(addr)
	l.memory(addr)
	l.vmalloc(addr)
	if err != nil && len(l.r.Answers) == 0 {
		l.add(Answer{Kind: Unmapped, Text: err.Error()})
	}
	if l.r.Coverage.Unread() == 0 {
		l.r.Coverage.Read = max(1, l.r.Coverage.Read)
	}
	return l.r
}

func (l *looker) add(a Answer) { l.r.Answers = append(l.r.Answers, a) }

// fail counts what cannot be read. What the kernel does not have is no failure.
func (l *looker) fail(err error) {
	if err != nil && !errors.Is(err, kernel.ErrNotFound) {
		l.r.Coverage.Fail(err)
	}
}

func (l *looker) symbol(addr uint64) {
	sym, off, ok := l.k.SymbolAt(addr)
	if !ok {
		return
	}
	a := Answer{Kind: Symbol, Name: sym.Name, Start: kernel.Addr(sym.Addr), Offset: off, Size: sym.Size, Text: l.k.SymbolName(addr)}
	if member := variable.Name(l.k, addr); member != a.Text && member != sym.Name {
		a.Text += ": " + member
	}
	l.add(a)
}

func (l *looker) module(addr uint64) {
	reader, err := module.New(l.k)
	if err != nil {
		return // a kernel without modules
	}
	for m, err := range reader.All() {
		if err != nil {
			l.fail(err)
			continue
		}
		region, ok := m.Region(addr)
		if !ok {
			continue
		}
		text := fmt.Sprintf("%s of module %s", region.Kind, m.Name)
		if name, ok := l.k.LookupName(addr); ok {
			text += ": " + name
			if member := variable.Name(l.k, addr); member != name {
				text += ": " + member
			}
		}
		l.add(Answer{Kind: Module, Name: m.Name, Start: kernel.Addr(region.Addr), Offset: addr - region.Addr, Size: region.Size, Text: text})
	}
}

// percpu looks for the address in the processors' copies of the static per-CPU
// variables.
func (l *looker) percpu(addr uint64) {
	v, ok := variable.PerCPUAt(l.k, addr)
	if !ok {
		return
	}
	a := Answer{Kind: PerCPU, CPU: &v.CPU, Offset: v.Offset, Text: fmt.Sprintf("in the area of CPU %d", v.CPU)}
	if v.Name != "" {
		a.Name, a.Size, a.Start = v.Name, v.Size, kernel.Addr(addr-v.Offset)
		a.Text = v.In(perCPUMember(&v))
	}
	l.add(a)
}

// perCPUMember is a per-CPU variable with the member that was asked for.
func perCPUMember(v *variable.PerCPU) string {
	if v.Type != nil {
		if path, _, _ := v.Type.PathAt(int64(v.Offset)); path != "" {
			if path[0] == '[' {
				return v.Name + path
			}
			return v.Name + "." + path
		}
	}
	if v.Offset != 0 {
		return fmt.Sprintf("%s+%#x", v.Name, v.Offset)
	}
	return v.Name
}

// tasks looks for the address in tasks' stacks and structures.
func (l *looker) tasks(addr uint64) {
	r, err := task.New(l.k)
	if err != nil {
		l.fail(err)
		return
	}
	stack := uint64(16384) // THREAD_SIZE of x86-64 since 3.15
	if t, err := l.k.Type("union thread_union"); err == nil && t.Size() >= 4096 && t.Size() <= 1<<20 {
		stack = uint64(t.Size())
	}
	size := uint64(0)
	if t, err := l.k.Type("struct task_struct"); err == nil {
		size = uint64(t.Size())
	}
	all, _ := r.Find(l.fail)
	for _, t := range all {
		who := fmt.Sprintf("PID %d (%s)", t.PID, t.Comm)
		if addr-t.Stack < stack && t.Stack != 0 {
			a := Answer{Kind: Stack, Name: t.Comm, PID: &t.PID, Start: kernel.Addr(t.Stack), Offset: addr - t.Stack, Size: stack,
				Text: "the stack of " + who}
			if addr < t.SP && !t.OnCPU {
				a.Text += ", below its stack pointer"
			}
			l.add(a)
		}
		if addr-t.Addr < size {
			l.add(Answer{Kind: Task, Name: t.Comm, PID: &t.PID, Start: kernel.Addr(t.Addr), Offset: addr - t.Addr, Size: size,
				Text: "the task_struct of " + who + l.member("struct task_struct", addr-t.Addr)})
		}
	}
}

func (l *looker) member(typeName string, off uint64) string {
	t, err := l.k.Type(typeName)
	if err != nil {
		return ""
	}
	if path, _, _ := t.PathAt(int64(off)); path != "" {
		return ": " + strings.TrimPrefix(path, ".")
	}
	return ""
}

// memory looks for the address in the direct mapping and among the struct pages.
func (l *looker) memory(addr uint64) {
	pages, err := page.Open(l.k)
	if err != nil {
		l.fail(err)
		return
	}
	if pfn, ok := pages.Containing(addr); ok {
		l.page(pages, pfn, StructPage, addr)
	}
	direct, ok := l.k.PageOffset()
	if !ok || addr < direct || addr-direct >= l.k.Image().Facts().MaxPhys {
		return
	}
	l.slab(pages, addr)
	l.page(pages, (addr-direct)/l.k.PageSize(), Page, addr)
}

func (l *looker) slab(pages *page.Map, addr uint64) {
	s, err := slab.Open(l.k, pages)
	if errors.Is(err, slab.ErrSLOB) {
		return // the page says that it is the allocator's
	}
	if err != nil {
		l.fail(err)
		return
	}
	o, ok, err := s.ObjectAt(addr)
	if err != nil {
		l.fail(err)
	}
	switch {
	case ok:
		c := o.Slab.Cache
		a := Answer{Kind: SlabObject, Name: c.Name, Start: kernel.Addr(o.Addr), Offset: uint64(o.Offset), Size: uint64(c.ObjectSize), Free: o.Free}
		state := "in use"
		if o.Free {
			state = "free"
		}
		a.Text = fmt.Sprintf("object %s of cache %s (%d bytes), %s, number %d of its slab", kernel.Addr(o.Addr), c.Name, c.ObjectSize, state, o.Index)
		if o.Offset > 0 {
			a.Text = fmt.Sprintf("%d bytes into %s", o.Offset, a.Text)
		}
		if o.Doubt != nil {
			a.Doubt = o.Doubt.Error()
		}
		l.add(a)
	case o.Slab.Cache != nil && err == nil:
		l.add(Answer{Kind: Slab, Name: o.Slab.Cache.Name, Start: kernel.Addr(o.Slab.Start), Offset: addr - o.Slab.Start, Size: uint64(o.Slab.Bytes()),
			Text: fmt.Sprintf("in a slab of cache %s, in no object", o.Slab.Cache.Name)})
	}
}

// page says what a page is used for.
func (l *looker) page(pages *page.Map, pfn uint64, kind Kind, addr uint64) {
	p, err := pages.Page(pfn)
	if err != nil {
		if !errors.Is(err, page.ErrNoPage) {
			l.fail(err)
		}
		return
	}
	a := Answer{Kind: kind, PFN: &pfn, Flags: strings.Join(pages.FlagNames(&p), ","), Start: kernel.Addr(p.Addr)}
	use := pages.TypeName(&p)
	switch {
	case use == "buddy":
		a.Free = true
		use = fmt.Sprintf("free, the first of a block of order %d", p.Private)
	case p.Refcount == 0 && p.Head == 0 && use == "":
		a.Free, use = true, "no one has it"
	case use != "":
	case p.Mapping&3 == 1:
		use = "anonymous memory"
	case p.Mapping != 0 && p.Mapping&3 == 0 && p.Head == 0:
		use = fmt.Sprintf("page cache of the address_space %s", kernel.Addr(p.Mapping))
	}
	if kind == StructPage {
		a.Offset, a.Size = addr-p.Addr, uint64(pages.Size())
		a.Text = "the struct page of "
	}
	a.Text += fmt.Sprintf("PFN %#x, count %d", pfn, p.Refcount)
	if a.Flags != "" {
		a.Text += ", " + a.Flags
	}
	if use != "" {
		a.Text += ", " + use
	}
	if head, ok := pages.Head(&p); ok && head != pfn {
		a.Text += fmt.Sprintf(", a tail of the compound page of PFN %#x", head)
	}
	if node := pages.Node(&p); node >= 0 {
		a.Text += fmt.Sprintf(", node %d", node)
	}
	l.add(a)
}

func (l *looker) vmalloc(addr uint64) {
	r, err := vmalloc.Open(l.k)
	if err != nil {
		l.fail(err)
		return
	}
	area, ok, err := r.Find(addr)
	if err != nil {
		l.fail(err)
	}
	if !ok {
		return
	}
	a := Answer{Kind: Vmalloc, Start: kernel.Addr(area.Start), Offset: addr - area.Start, Size: area.Size,
		Text: fmt.Sprintf("%d bytes", area.Size)}
	if area.Caller != 0 {
		a.Name = l.k.SymbolName(area.Caller)
		a.Text += " taken by " + a.Name
	}
	if area.Pages != 0 {
		a.Text += fmt.Sprintf(", %d pages", area.Pages)
	}
	if area.Phys != 0 {
		a.Text += fmt.Sprintf(", of physical memory at %#x", area.Phys)
	}
	l.add(a)
}
