package mem

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
)

// swapLayout is struct swap_info_struct (include/linux/swap.h).
type swapLayout struct {
	kernel.Layout `kernel:"struct swap_info_struct"`
	Flags         kernel.Uint `kernel:"flags"`
	Prio          kernel.Uint `kernel:"prio"`
	Pages         kernel.Uint `kernel:"pages"`
	Used          kernel.Uint `kernel:"inuse_pages.counter|inuse_pages"`
	File          kernel.U64  `kernel:"swap_file"`
}

const swapUsed = 1 // SWP_USED

// readSwap reads the swap areas. swap_info has pointers since 2.6.33, the structures
// themselves before.
func (a *analysis) readSwap() {
	total, _ := a.number("total_swap_pages")
	free, _ := a.number("nr_swap_pages")
	a.r.Info.SwapTotal, a.r.Info.SwapFree = total*a.page, uint64(max(0, int64(free)))*a.page
	var l swapLayout
	at, err := a.k.Symbol("swap_info")
	count, ok := a.number32("nr_swapfiles")
	if err != nil || !ok || a.k.Resolve(&l) != nil {
		return // a kernel without swap
	}
	inPlace := a.swapInPlace()
	for i := range min(count, maxSwapFiles) {
		addr := at + i*uint64(l.Size())
		if !inPlace {
			if addr, err = a.k.Uint64(at + 8*i); err != nil {
				a.fail(fmt.Errorf("swap_info[%d]: %w", i, err))
				continue
			}
		}
		if addr != 0 {
			a.swapArea(&l, addr)
		}
	}
}

// swapInPlace tells whether swap_info has the structures themselves. Where the
// variable's type is not known the member that went with them tells.
func (a *analysis) swapInPlace() bool {
	if t, err := a.k.Info().Variable("swap_info"); err == nil && t.Strip().Kind == ctype.Array {
		return t.Strip().Elem().Strip().Kind != ctype.Pointer
	}
	return a.k.HasField("struct swap_info_struct", "extent_list")
}

func (a *analysis) swapArea(l *swapLayout, addr uint64) {
	b, err := a.k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		a.fail(fmt.Errorf("struct swap_info_struct at %#x: %w", addr, err))
		return
	}
	if l.Flags.Get(b)&swapUsed == 0 {
		return // swapped off
	}
	s := SwapArea{Addr: kernel.Addr(addr), Size: l.Pages.Get(b) * a.page, Used: l.Used.Get(b) * a.page, Priority: int(int16(l.Prio.Get(b)))}
	if file := l.File.Get(b); file != 0 {
		s.Path = a.pathOf(file)
	}
	a.r.Coverage.Read++
	a.r.Swap = append(a.r.Swap, s)
}

// pathOf is the path of a struct file in its file system.
func (a *analysis) pathOf(file uint64) string {
	off, err := a.offset("struct file", "f_path.dentry")
	if err != nil {
		return ""
	}
	at, err := a.k.Uint64(file + off)
	if err == nil && at != 0 {
		d, dentryErr := a.fs.Dentry(at)
		if err = dentryErr; err == nil {
			path, pathErr := a.fs.Path(d)
			if err = pathErr; err == nil {
				return path
			}
		}
	}
	if err != nil {
		a.fail(fmt.Errorf("path of the swap file at %#x: %w", file, err))
	}
	return ""
}
