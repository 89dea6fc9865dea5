package kernel

import (
	"bytes"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// A dump without VMCOREINFO, such as QEMU's of a guest that tells it nothing,
// does not say where the kernel is. It is found by its banner: the kernel image
// is mapped with large pages, so that linux_banner lies at the same place within
// such a page in physical memory as in the link address, wherever address space
// randomisation put it. What is found is believed only if the
// page tables that then follow map themselves and the banner to where they are.

// bannerStart is how every linux_banner begins (init/version.c).
const bannerStart = "Linux version "

// locate finds the kernel that the debug information describes in the dump's
// memory. why is the error that made it necessary; it becomes part of the one
// that locate returns where it fails.
func locate(image dump.Image, info debuginfo.Source, why error) (*Memory, error) {
	machine, err := machineOf(image.Facts().Arch)
	if err != nil {
		return nil, err
	}
	symbols := info.Symbols()
	banner, ok := symbols.Lookup("linux_banner")
	if _, hasTable := topTable(symbols); !ok || !hasTable {
		return nil, fmt.Errorf("%w; and %s has no symbols by which to look for it", why, info.Describe())
	}
	for phys := range congruent(image, banner.Addr, machine.alignment()) {
		if !holds(image, phys, bannerStart) {
			continue
		}
		if m := machine.at(image, symbols, phys); m != nil {
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
func congruent(image dump.Image, link, alignment uint64) func(yield func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for r := range image.Ranges() {
			first := r.Start&^(alignment-1) + link%alignment
			if first < r.Start {
				first += alignment
			}
			for phys := first; phys < r.End; phys += alignment {
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
