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

// openAMD64 finds the page tables and the direct mapping of an x86-64 kernel.
func (k *Kernel) openAMD64() error {
	vmci := k.image.Facts().VMCoreInfo
	if vmci == nil {
		return fmt.Errorf("%w, so the kernel's place in memory is not known; dumps that kdump writes have it, "+
			"QEMU's have it when the guest runs with -device vmcoreinfo and its qemu_fw_cfg driver", ErrNoVMCoreInfo)
	}
	k.textFrom = amd64KernelMap
	k.offset, _ = vmci.Hex("KERNELOFFSET")
	var ok bool
	if k.physBase, ok = vmci.Number("phys_base"); !ok && k.image.Facts().PhysBaseValid {
		k.physBase = k.image.Facts().PhysBase
	}
	rootVirt, ok := vmci.Symbol("swapper_pg_dir")
	if !ok {
		if rootVirt, ok = vmci.Symbol("init_top_pgt"); !ok {
			rootVirt, ok = vmci.Symbol("init_level4_pgt")
		}
	}
	if !ok {
		return fmt.Errorf("%w with the address of the page tables (SYMBOL(swapper_pg_dir))", ErrNoVMCoreInfo)
	}
	levels5, _ := vmci.Number("pgtable_l5_enabled")
	encryption, _ := vmci.Number("sme_mask")
	root := rootVirt - amd64KernelMap + uint64(k.physBase)
	k.space = paging.NewAMD64(k.image, root, levels5 != 0, uint64(encryption))
	return k.findDirectMap(root, levels5 != 0)
}

// findDirectMap finds where physical memory is mapped as a whole. Kernels that
// randomise it keep the place in page_offset_base; the others have a constant
// that moved once. Either is believed only if the page tables agree.
func (k *Kernel) findDirectMap(root uint64, fiveLevels bool) error {
	candidates := []uint64{amd64PageOffset4, amd64PageOffset4Old}
	limit := uint64(1) << 46 // 64 TiB, the size of the window
	if fiveLevels {
		candidates = []uint64{amd64PageOffset5, amd64PageOffset5Old}
		limit = 1 << 52 // all physical addresses there can be
	}
	if addr, err := k.Symbol("page_offset_base"); err == nil {
		base, err := k.Uint64(addr)
		if err != nil {
			return k.notTheKernel("page_offset_base", err)
		}
		candidates = append([]uint64{base}, candidates...)
	}
	for _, base := range candidates {
		phys, _, err := k.space.Translate(base + root)
		if err == nil && phys == root {
			k.pageOffset = base
			k.direct = directMap{start: base, size: min(k.image.Facts().MaxPhys, limit)}
			return nil
		}
	}
	return k.notTheKernel("the direct mapping of physical memory", nil)
}

func (k *Kernel) notTheKernel(what string, err error) error {
	s := fmt.Sprintf("%s is not where %s and the dump's VMCOREINFO put it", what, k.info.Describe())
	if err != nil {
		s += ": " + err.Error()
	}
	return fmt.Errorf("%w: %s", ErrMismatch, s)
}
