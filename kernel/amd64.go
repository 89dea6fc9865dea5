package kernel

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/paging"
)

// Addresses of the x86-64 kernel's virtual memory map
// (Documentation/arch/x86/x86_64/mm.rst, arch/x86/include/asm/page_64_types.h).
const (
	amd64KernelMap = 0xffffffff80000000 // __START_KERNEL_map: link address of physical 0, less phys_base

	amd64PageOffset4    = 0xffff888000000000 // since 4.20, 4 levels
	amd64PageOffset4Old = 0xffff880000000000 // before 4.20
	amd64PageOffset5    = 0xff11000000000000 // since 4.20, 5 levels
	amd64PageOffset5Old = 0xff10000000000000 // 4.14 to 4.19
)

// openAMD64 finds the page tables of an x86-64 kernel.
func (m *Memory) openAMD64() error {
	facts := m.image.Facts()
	vmci := facts.VMCoreInfo
	if vmci == nil {
		return fmt.Errorf("%w, so the kernel's place in memory is not known; dumps that kdump writes have it, "+
			"QEMU's have it when the guest runs with -device vmcoreinfo and its qemu_fw_cfg driver", ErrNoVMCoreInfo)
	}
	m.lowest = amd64KernelMap
	m.offset, _ = vmci.Hex("KERNELOFFSET")
	virt, ok := uint64(0), false
	// The top table had three names: since 4.13 init_top_pgt, before
	// init_level4_pgt; makedumpfile asks for swapper_pg_dir.
	for _, name := range []string{"swapper_pg_dir", "init_top_pgt", "init_level4_pgt"} {
		if virt, ok = vmci.Symbol(name); ok {
			break
		}
	}
	if !ok {
		return fmt.Errorf("%w with the address of the page tables (SYMBOL(swapper_pg_dir))", ErrNoVMCoreInfo)
	}
	physBase, told := vmci.Number("phys_base")
	if !told && facts.PhysBaseValid {
		physBase = facts.PhysBase
	} else if variable, ok := vmci.Symbol("phys_base"); ok && !told {
		physBase = m.findPhysBase(variable, virt)
	}
	five, _ := vmci.Number("pgtable_l5_enabled")
	encryption, _ := vmci.Number("sme_mask")
	m.root, m.levels5 = virt-amd64KernelMap+uint64(physBase), five != 0
	m.space = paging.NewAMD64(m.image, m.root, m.levels5, uint64(encryption))
	return nil
}

// findDirectMap finds where physical memory is mapped as a whole. Kernels that
// randomise it keep the place in page_offset_base; the others have a constant
// that moved once. Either is believed only if the page tables agree. Without it
// every address is translated by the page tables, which is right but slower.
func (k *Kernel) findDirectMap() {
	candidates := []uint64{amd64PageOffset4, amd64PageOffset4Old}
	limit := uint64(1) << 46 // 64 TiB, the size of the window
	if k.levels5 {
		candidates = []uint64{amd64PageOffset5, amd64PageOffset5Old}
		limit = 1 << 52 // all physical addresses there can be
	}
	if addr, err := k.Symbol("page_offset_base"); err == nil {
		if base, err := k.Uint64(addr); err == nil {
			candidates = append([]uint64{base}, candidates...)
		}
	}
	for _, base := range candidates {
		phys, _, err := k.space.Translate(base + k.root)
		if err == nil && phys == k.root {
			k.direct = directMap{start: base, size: min(k.image.Facts().MaxPhys, limit)}
			return
		}
	}
}

// PageOffset is the virtual address where the direct mapping of physical
// memory starts (page_offset_base, PAGE_OFFSET); false where it was not found.
func (k *Kernel) PageOffset() (uint64, bool) { return k.direct.start, k.direct.size != 0 }
