package kernel

import (
	"encoding/binary"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/paging"
)

const (
	amd64LargePage = 2 << 20
	amd64Table     = 4096
)

// at implements machine.
func (a *amd64) at(image dump.Image, symbols *debuginfo.Symbols, phys uint64) *Memory {
	sym, _ := symbols.Lookup("linux_banner")
	table, ok := topTable(symbols)
	banner, root := sym.Addr, table+phys-sym.Addr
	if !ok || root%amd64Table != 0 || root >= image.Facts().MaxPhys {
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
		m := newMemory(image, &amd64{five, encryption})
		m.space, m.offset, m.lowest, m.root = space, offset, amd64KernelMap, root
		return m
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

// findPhysBase finds phys_base, how far the kernel image lies from its place in
// physical memory, where VMCOREINFO has only the address of that variable, as
// until 4.9: it is the value that the variable has where that value puts it, and
// that puts the page tables where they map themselves.
func (m *Memory) findPhysBase(variable, table uint64) int64 {
	for phys := range congruent(m.image, variable, amd64LargePage) {
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
