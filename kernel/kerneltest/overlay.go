package kerneltest

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
)

// Overlay is a dump of which some pages are others: what a test plants in memory,
// or damages. It is written before it is read.
type Overlay struct {
	dump.Image
	pages map[uint64][]byte // by physical address; nil for one that was left out
	t     testing.TB
	mem   *kernel.Memory // of the dump below
}

// OverlayOn lays an overlay over a kernel's dump.
func OverlayOn(t testing.TB, k *kernel.Kernel) *Overlay {
	return &Overlay{Image: k.Image(), pages: map[uint64][]byte{}, t: t, mem: k.Memory}
}

// Open opens the kernel with what was planted.
func (o *Overlay) Open() *kernel.Kernel {
	o.t.Helper()
	k, err := kernel.Open(o, Info(o.t), kernel.Options{})
	if err != nil {
		o.t.Fatal(err)
	}
	return k
}

const pageSize = 4096

// Write writes at a kernel virtual address. A page that the dump lacks is zeros
// first.
func (o *Overlay) Write(virt uint64, data []byte) {
	for len(data) > 0 {
		page := o.page(virt)
		n := copy(page[virt%pageSize:], data)
		virt, data = virt+uint64(n), data[n:]
	}
}

// PutUint64 writes a number.
func (o *Overlay) PutUint64(virt, v uint64) {
	o.Write(virt, binary.LittleEndian.AppendUint64(nil, v))
}

func (o *Overlay) page(virt uint64) []byte {
	phys := o.phys(virt) &^ (pageSize - 1)
	if o.pages[phys] == nil {
		o.pages[phys] = make([]byte, pageSize)
		_, _ = o.Image.ReadPhys(o.pages[phys], phys) // what is not there stays zero
	}
	return o.pages[phys]
}

func (o *Overlay) phys(virt uint64) uint64 {
	phys, _, err := o.mem.Translate(virt)
	if err != nil {
		o.t.Fatal(err)
	}
	return phys
}

// Exclude leaves the page of a virtual address out of the dump.
func (o *Overlay) Exclude(virt uint64) { o.pages[o.phys(virt)&^(pageSize-1)] = nil }

// ReadPhys implements dump.Image.
func (o *Overlay) ReadPhys(buf []byte, addr uint64) (int, error) {
	done := 0
	for done < len(buf) {
		at := addr + uint64(done)
		b, err := o.ViewPhys(at, min(len(buf)-done, int(pageSize-at%pageSize)))
		if err != nil {
			return done, err
		}
		done += copy(buf[done:], b)
	}
	return done, nil
}

// ViewPhys implements dump.Image.
func (o *Overlay) ViewPhys(addr uint64, n int) ([]byte, error) {
	page, ok := o.pages[addr&^(pageSize-1)]
	switch {
	case !ok:
		return o.Image.ViewPhys(addr, n)
	case page == nil:
		return nil, &dump.ReadError{Addr: addr, Kind: dump.ErrExcluded}
	}
	return page[addr%pageSize:][:n], nil
}

// Sweep implements dump.Image. Pages that only the overlay has come last.
func (o *Overlay) Sweep(ctx context.Context, workers int, fn func(worker int, p dump.Page) error) error {
	seen := map[uint64]bool{}
	err := o.Image.Sweep(ctx, 1, func(_ int, p dump.Page) error {
		if page, ok := o.pages[p.Addr]; ok {
			seen[p.Addr] = true
			if p = (dump.Page{Addr: p.Addr, Data: page}); page == nil {
				return nil
			}
		}
		return fn(0, p)
	})
	for addr, page := range o.pages {
		if err == nil && page != nil && !seen[addr] {
			err = fn(0, dump.Page{Addr: addr, Data: page})
		}
	}
	return err
}

// BreakTaskList makes the list of tasks lead astray from its head, init_task, on.
func (o *Overlay) BreakTaskList() {
	o.t.Helper()
	k := o.Open()
	init, err := k.Symbol("init_task")
	if err != nil {
		o.t.Fatal(err)
	}
	task, err := k.Type("struct task_struct")
	if err != nil {
		o.t.Fatal(err)
	}
	tasks, err := task.Field("tasks")
	if err != nil {
		o.t.Fatal(err)
	}
	o.PutUint64(init+uint64(tasks.Offset), 0xdead000000000100) // LIST_POISON1
}
