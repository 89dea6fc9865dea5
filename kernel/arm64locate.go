package kernel

import (
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/paging"
)

// alignment implements machine. Firmware may load the kernel at any multiple of
// 64 KiB (EFI_KIMG_ALIGN, since 5.8), and it is then mapped at such a one.
func (a *arm64) alignment() uint64 { return 64 << 10 }

// arm64Formats are those that kernels are built for (CONFIG_ARM64_VA_BITS_*).
var arm64Formats = []struct {
	page uint64
	bits []uint
}{{4 << 10, []uint{48, 39, 52}}, {64 << 10, []uint{48, 52, 42}}, {16 << 10, []uint{48, 47, 52, 36}}}

// at implements machine. The tables must map the banner and themselves to where
// they are, by an offset that address space randomisation can make.
func (a *arm64) at(image dump.Image, symbols *debuginfo.Symbols, phys uint64) *Memory {
	banner, _ := symbols.Lookup("linux_banner")
	table, ok := topTable(symbols)
	root := table + phys - banner.Addr
	if !ok || root >= image.Facts().MaxPhys {
		return nil
	}
	for _, f := range arm64Formats {
		for _, bits := range f.bits {
			format := arm64FormatOf(f.page, bits, bits)
			space, err := paging.NewARM64(image, root, format)
			if err != nil || root%f.page != 0 {
				continue
			}
			offset, ok := arm64Offset(space, banner.Addr, table, phys, root, bits)
			if !ok {
				continue
			}
			m := newMemory(image, &arm64{format: format, pacMask: arm64CodeMask(bits)})
			m.pageSize, m.space, m.offset, m.lowest, m.root = f.page, space, offset, arm64Lowest, root
			return m
		}
	}
	return nil
}

// arm64Offset finds the distance from link to runtime addresses. The linear
// mapping has the image too, but below the link addresses since 5.4, and before
// further up than the image is ever moved.
func arm64Offset(space *paging.ARM64, banner, table, phys, root uint64, bits uint) (offset uint64, ok bool) {
	limit := uint64(7) << (bits - 4)
	for virt := range space.MapsTo(phys, banner) {
		if offset = virt - banner; offset >= limit || offset%(64<<10) != 0 {
			continue
		}
		if at, _, err := space.Translate(table + offset); err == nil && at == root {
			return offset, true
		}
	}
	return 0, false
}
