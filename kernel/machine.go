package kernel

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/paging"
)

// machine is how the kernel of an architecture lies in memory. Each architecture
// is a file. A machine belongs to one Memory, and keeps what it found out.
type machine interface {
	// open finds the page tables and the kernel image by VMCOREINFO: it sets
	// the space, root, offset and lowest of the memory.
	open(m *Memory, vmci *dump.VMCoreInfo) error
	// at makes the memory of a kernel that has its linux_banner at a physical
	// address, nil where the page tables that would follow are none.
	at(image dump.Image, symbols *debuginfo.Symbols, phys uint64) *Memory
	// alignment is the number of bytes modulo which physical addresses of the
	// kernel image are the same as link addresses.
	alignment() uint64
	// direct finds the direct mapping of physical memory. Without it every
	// address is translated by the page tables, which is right but slower.
	direct(k *Kernel) directMap
	// user is the address space of a process whose top page table is at a
	// physical address; nil where no table can be there.
	user(m *Memory, root uint64) paging.Space
	// code is the address that a pointer to code stands for: without a
	// pointer authentication code.
	code(pointer uint64) uint64
	// maxCPUs is the highest CONFIG_NR_CPUS that the architecture allows.
	maxCPUs() uint64
}

var machines = map[dump.Arch]func() machine{
	dump.ArchX86_64: func() machine { return new(amd64) },
	dump.ArchARM64:  func() machine { return new(arm64) },
}

// machineOf makes the machine for an architecture. The error wraps ErrArch.
func machineOf(arch dump.Arch) (machine, error) {
	if make, ok := machines[arch]; ok {
		return make(), nil
	}
	var known []string
	for _, a := range slices.Sorted(maps.Keys(machines)) {
		known = append(known, string(a))
	}
	return nil, fmt.Errorf("%w: the dump is of a %q machine, and only %s kernels can be analyzed",
		ErrArch, arch, strings.Join(known, " and "))
}

// findDirectMap finds where physical memory is mapped as a whole.
func (k *Kernel) findDirectMap() { k.direct = k.machine.direct(k) }

// PageOffset is the virtual address that physical address 0 has in the direct
// mapping of physical memory, or would have if there were memory: page_offset_base
// or PAGE_OFFSET of x86-64, PAGE_OFFSET less PHYS_OFFSET of arm64, modulo 2^64. It
// is false where the mapping was not found.
func (k *Kernel) PageOffset() (uint64, bool) {
	return k.direct.start - k.direct.phys, k.direct.size != 0
}

// UserSpace is the user mode address space whose top page table is at a physical
// address; false where no table can be there, because tables are aligned.
func (m *Memory) UserSpace(root uint64) (paging.Space, bool) {
	space := m.machine.user(m, root)
	return space, space != nil
}

// CodeAddress is the virtual address that a pointer to code stands for, such as a
// return address on a stack: on arm64 without its pointer authentication code.
func (m *Memory) CodeAddress(pointer uint64) uint64 { return m.machine.code(pointer) }
