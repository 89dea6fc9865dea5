package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/paging"
)

// A dump without VMCOREINFO, such as QEMU's of a guest that tells it nothing,
// does not say where the kernel is. It is found by its banner: the kernel image
// is mapped with pages of 2 MiB, so that linux_banner lies at the same place
// within such a page in physical memory as in the link address, wherever
// address space randomisation put it. What is found is believed only if the
// page tables that then follow map themselves and the banner to where they are.

// bannerStart is how every linux_banner begins (init/version.c).
const bannerStart = "Linux version "

const (
	amd64LargePage = 2 << 20
	amd64Table     = 4096
)

// locate finds the kernel that the debug information describes in the dump's
// memory. why is the error that made it necessary; it becomes part of the one
// that locate returns where it fails.
func locate(image dump.Image, info debuginfo.Source, why error) (*Memory, error) {
	symbols := info.Symbols()
	banner, ok := symbols.Lookup("linux_banner")
	table, hasTable := topTable(symbols)
	if !ok || !hasTable || image.Facts().Arch != dump.ArchX86_64 {
		return nil, fmt.Errorf("%w; and %s has no symbols by which to look for it", why, info.Describe())
	}
	for phys := range congruent(image, banner.Addr) {
		if !holds(image, phys, bannerStart) {
			continue
		}
		if m := tryKernelAt(image, symbols, banner.Addr, table, phys); m != nil {
			return m, nil
		}
	}
	found := "no kernel's banner was found there"
	if text := anyBanner(image); text != "" {
		found = fmt.Sprintf("a banner there begins with %q", text)
	}
	return nil, fmt.Errorf("%w; and the kernel of %s is not in the dump's memory (%s): give the vmlinux of exactly the dumped kernel",
		why, info.Describe(), found)
}

// topTable is the link address of the kernel's top page table, which was renamed
// in 4.13.
func topTable(symbols *debuginfo.Symbols) (uint64, bool) {
	for _, name := range []string{"init_top_pgt", "init_level4_pgt", "swapper_pg_dir"} {
		if sym, ok := symbols.Lookup(name); ok {
			return sym.Addr, true
		}
	}
	return 0, false
}

// congruent yields the physical addresses in the dump at which the byte that is
// linked for an address can be.
func congruent(image dump.Image, link uint64) func(yield func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for r := range image.Ranges() {
			first := r.Start&^(amd64LargePage-1) + link%amd64LargePage
			if first < r.Start {
				first += amd64LargePage
			}
			for phys := first; phys < r.End; phys += amd64LargePage {
				if !yield(phys) {
					return
				}
			}
		}
	}
}

func holds(image dump.Image, phys uint64, text string) bool {
	var buf [len(bannerStart)]byte
	b := buf[:len(text)]
	_, err := image.ReadPhys(b, phys)
	return err == nil && string(b) == text
}

// tryKernelAt makes the address space of a kernel whose banner is at a physical
// address, nil where the page tables that would follow are none.
func tryKernelAt(image dump.Image, symbols *debuginfo.Symbols, banner, table, phys uint64) *Memory {
	root := table + phys - banner
	if root%amd64Table != 0 || root >= image.Facts().MaxPhys {
		return nil
	}
	encryption := encryptionMask(image, symbols, phys-banner)
	for _, five := range []bool{false, true} {
		space := paging.NewAMD64(image, root, five, encryption)
		offset, ok := kernelOffset(space, banner, phys)
		if !ok {
			continue
		}
		if at, _, err := space.Translate(table + offset); err != nil || at != root {
			continue
		}
		return &Memory{image: image, pageMask: image.Facts().PageSize - 1, space: space,
			offset: offset, lowest: amd64KernelMap, root: root, levels5: five}
	}
	return nil
}

// kernelOffset looks through the gigabyte that the kernel image can be mapped
// in for the page that has the banner.
func kernelOffset(space paging.Space, banner, phys uint64) (offset uint64, ok bool) {
	const window = 1 << 30 // KERNEL_IMAGE_SIZE
	for virt := amd64KernelMap + banner%amd64LargePage; virt < amd64KernelMap+window; virt += amd64LargePage {
		if at, _, err := space.Translate(virt); err == nil && at == phys {
			return virt - banner, true
		}
	}
	return 0, false
}

// encryptionMask is the bit that AMD's memory encryption sets in page table
// entries, 0 without it. delta is physical less link addresses of the image.
func encryptionMask(image dump.Image, symbols *debuginfo.Symbols, delta uint64) uint64 {
	sym, ok := symbols.Lookup("sme_me_mask")
	if !ok {
		return 0
	}
	var buf [8]byte
	if _, err := image.ReadPhys(buf[:], sym.Addr+delta); err != nil {
		return 0
	}
	mask := binary.LittleEndian.Uint64(buf[:])
	if mask&(mask-1) != 0 || mask>>32 == 0 { // one bit, above 4 GiB
		return 0
	}
	return mask
}

// maxBannerPages bounds how much memory is searched for another kernel's
// banner, for a better error: the first gigabyte, where kernels mostly are.
const maxBannerPages = 1 << 18

// anyBanner is the first part of a banner in the dump's memory, escaped, or "".
func anyBanner(image dump.Image) string {
	size := image.Facts().PageSize
	pages := 0
	for r := range image.Ranges() {
		for phys := r.Start; phys < r.End; phys += size {
			if pages++; pages > maxBannerPages {
				return ""
			}
			page, err := image.ViewPhys(phys, int(min(size, r.End-phys)))
			if err != nil {
				continue
			}
			if i := bytes.Index(page, []byte(bannerStart)); i >= 0 && i+len(bannerStart) < len(page) {
				text := page[i:min(len(page), i+64)]
				if version := text[len(bannerStart)]; version < '0' || version > '9' {
					continue // the kernel's own format strings
				}
				if end := bytes.IndexAny(text[len(bannerStart):], " \n\x00"); end >= 0 {
					text = text[:len(bannerStart)+end]
				}
				return cstr.Show(text)
			}
		}
	}
	return ""
}

// findPhysBase finds phys_base, how far the kernel image lies from its place in
// physical memory, where VMCOREINFO has only the address of that variable, as
// until 4.9: it is the value that the variable has where that value puts it, and
// that puts the page tables where they map themselves.
func (m *Memory) findPhysBase(variable, table uint64) int64 {
	for phys := range congruent(m.image, variable) {
		var buf [8]byte
		if _, err := m.image.ReadPhys(buf[:], phys); err != nil {
			continue
		}
		base := binary.LittleEndian.Uint64(buf[:])
		if variable-amd64KernelMap+base != phys {
			continue
		}
		root := table - amd64KernelMap + base
		space := paging.NewAMD64(m.image, root, false, 0)
		if at, _, err := space.Translate(table); err == nil && at == root {
			return int64(base)
		}
	}
	return 0
}
