package kernel

import (
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/paging"
)

// arm64 is the arm64 kernel. Its virtual memory map is
// Documentation/arch/arm64/memory.rst: until 5.3 the upper half of the kernel's
// addresses was the linear mapping of memory, since 5.4 it is the lower one; the
// kernel image is in the other half.
type arm64 struct {
	format  paging.ARM64Format
	vaBits  uint   // CONFIG_ARM64_VA_BITS, 0 if not known; the processor can have fewer
	pacMask uint64 // bits of a pointer to code that are its authentication code
}

// arm64Lowest is the lowest address that a kernel with 52 bits has.
const arm64Lowest = 0xfff0_0000_0000_0000

func (a *arm64) maxCPUs() uint64 { return 4096 }

// open implements machine. What VMCOREINFO has of it came with 4.12, T1SZ with
// 5.8 (arch/arm64/kernel/vmcore_info.c).
func (a *arm64) open(m *Memory, vmci *dump.VMCoreInfo) error {
	table, ok1 := vmci.Symbol("swapper_pg_dir")
	offset, ok2 := vmci.Number("kimage_voffset")
	bits, ok3 := vmci.Number("VA_BITS")
	if !ok1 || !ok2 || !ok3 || bits <= 0 || bits > 52 {
		return fmt.Errorf("%w with the place of the page tables (SYMBOL(swapper_pg_dir), NUMBER(kimage_voffset), NUMBER(VA_BITS))", ErrNoVMCoreInfo)
	}
	a.vaBits = uint(bits)
	actual := a.vaBits
	if size, ok := vmci.Number("TCR_EL1_T1SZ"); ok && size >= 12 && size < 64 {
		actual = 64 - uint(size)
	}
	a.format = arm64FormatOf(m.pageSize, a.vaBits, actual)
	a.pacMask = arm64CodeMask(actual)
	if mask, ok := vmci.Number("KERNELPACMASK"); ok { // since 5.8; 0 without authentication
		a.pacMask = uint64(mask)
	}
	m.lowest = arm64Lowest
	m.offset, _ = vmci.Hex("KERNELOFFSET")
	m.root = table - uint64(offset)
	var err error
	m.space, err = paging.NewARM64(m.image, m.root, a.format)
	return err
}

// arm64FormatOf is how a kernel that is built for addresses of some bits translates
// them on a processor that has as many or fewer (vabits_actual). With pages of
// 64 KiB the tables are those of the larger size then, for they start further up.
// With smaller ones, physical addresses are as wide as virtual ones.
func arm64FormatOf(page uint64, built, actual uint) paging.ARM64Format {
	f := paging.ARM64Format{PageSize: page, Bits: actual}
	if page == 64<<10 {
		f.Bits = max(built, actual)
	} else {
		f.LPA2 = actual == 52
	}
	return f
}

// arm64CodeMask are the bits in which an authentication code can be.
func arm64CodeMask(bits uint) uint64 { return ^uint64(0) << bits }

// code implements machine. All bits of the code are ones in an address of the
// kernel.
func (a *arm64) code(pointer uint64) uint64 {
	if pointer>>55&1 == 0 {
		return pointer // of user mode, or none
	}
	return pointer | a.pacMask
}

// user implements machine. A top table that is smaller than a page shares its page
// with others, and is aligned to 64 bytes at least.
func (a *arm64) user(m *Memory, root uint64) paging.Space {
	if root%64 != 0 {
		return nil
	}
	format := a.format
	format.User = true
	space, err := paging.NewARM64(m.image, root, format)
	if err != nil {
		panic(err) // the kernel's own has the same format
	}
	return space
}

// direct implements machine. The lowest address of the linear mapping is that of
// PHYS_OFFSET, which is below all memory: with KASLR by a random distance.
func (a *arm64) direct(k *Kernel) directMap {
	offset, ok := k.image.Facts().VMCoreInfo.Number("PHYS_OFFSET")
	if !ok {
		addr, err := k.Symbol("memstart_addr")
		if err != nil {
			return directMap{}
		}
		v, err := k.Uint64(addr)
		if err != nil {
			return directMap{}
		}
		offset = int64(v)
	}
	for _, bits := range []uint{a.vaBits, a.format.Bits, 52, 48} {
		if bits == 0 {
			continue
		}
		for _, start := range []uint64{-(uint64(1) << bits), -(uint64(1) << (bits - 1))} { // since 5.4; before
			base := start - uint64(offset) // of physical address 0, modulo 2^64
			if phys, _, err := k.space.Translate(base + k.root); err == nil && phys == k.root {
				return a.linear(k, base)
			}
		}
	}
	return directMap{}
}

// linear is the mapping by which physical address 0 would be at base. It covers
// what memory the dump has, within the half that base is in.
func (a *arm64) linear(k *Kernel, base uint64) directMap {
	half := uint64(1) << (a.format.Bits - 1)
	start := (base + k.root) &^ (half - 1)
	lowest, highest := start-base, start-base+half // physical
	if int64(lowest) < 0 {
		lowest = 0 // PHYS_OFFSET can be below 0 with KASLR
	}
	for r := range k.image.Ranges() {
		lowest = max(lowest, r.Start)
		break
	}
	highest = min(highest, k.image.Facts().MaxPhys)
	if highest <= lowest || k.root < lowest || k.root >= highest {
		return directMap{}
	}
	return directMap{start: base + lowest, size: highest - lowest, phys: lowest}
}
