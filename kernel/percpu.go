package kernel

import "fmt"

// PerCPU returns the address of a CPU's copy of a per-CPU variable, given the
// variable's address as Symbol returns it (include/asm-generic/percpu.h:
// __per_cpu_offset). A kernel without SMP has one copy, at that address.
// Addresses are kernel virtual ones. It fails for a CPU that the machine does
// not have, and wraps a *ReadError where the offset cannot be read.
func (k *Kernel) PerCPU(variable, cpu uint64) (uint64, error) {
	offsets, err := k.Symbol("__per_cpu_offset")
	if err != nil {
		if cpu == 0 {
			return variable, nil
		}
		return 0, fmt.Errorf("CPU %d: the kernel is built for one", cpu)
	}
	limit := k.machine.maxCPUs()
	if addr, err := k.Symbol("nr_cpu_ids"); err == nil {
		if n, err := k.Uint32(addr); err == nil {
			limit = min(limit, uint64(n))
		}
	}
	if cpu >= limit {
		return 0, fmt.Errorf("CPU %d: the machine has no more than %d", cpu, limit)
	}
	offset, err := k.Uint64(offsets + 8*cpu)
	if err != nil {
		return 0, fmt.Errorf("__per_cpu_offset[%d]: %w", cpu, err)
	}
	// The entries of CPUs that cannot exist hold the address of the area that
	// was discarded after boot.
	if start, err := k.Symbol("__per_cpu_load"); err == nil && offset == start {
		return 0, fmt.Errorf("CPU %d: the machine has no such CPU", cpu)
	}
	return variable + offset, nil
}
