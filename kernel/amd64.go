package kernel

import (
	"fmt"

	"github.com/kmortem/mortem/dump"
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

// amd64 is the x86-64 kernel.
type amd64 struct {
	levels5    bool
	encryption uint64 // AMD's memory encryption mask (sme_me_mask), 0 without
}

func (a *amd64) maxCPUs() uint64   { return 8192 }
func (a *amd64) alignment() uint64 { return amd64LargePage }

func (a *amd64) code(pointer uint64) uint64 { return pointer }

func (a *amd64) user(m *Memory, root uint64) paging.Space {
	if root%amd64Table != 0 {
		return nil
	}
	return paging.NewAMD64(m.image, root, a.levels5, a.encryption)
}

// open implements machine.
func (a *amd64) open(m *Memory, vmci *dump.VMCoreInfo) error {
	facts := m.image.Facts()
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
	a.levels5, a.encryption = five != 0, uint64(encryption)
	m.root = virt - amd64KernelMap + uint64(physBase)
	m.space = paging.NewAMD64(m.image, m.root, a.levels5, a.encryption)
	return nil
}

// direct implements machine. Kernels that randomise the place of the mapping keep
// it in page_offset_base; the others have a constant that moved once. Either is
// believed only if the page tables agree.
func (a *amd64) direct(k *Kernel) directMap {
	candidates := []uint64{amd64PageOffset4, amd64PageOffset4Old}
	limit := uint64(1) << 46 // 64 TiB, the size of the window
	if a.levels5 {
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
			return directMap{start: base, size: min(k.image.Facts().MaxPhys, limit)}
		}
	}
	return directMap{}
}
