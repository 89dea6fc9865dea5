package kernel

// CPUArea is the per-CPU area of one processor.
type CPUArea struct {
	CPU    int
	Offset uint64 // bytes to add to a per-CPU pointer, or to a per-CPU variable's symbol
}

// CPUAreas are the areas of the processors that the machine can have. A kernel
// without SMP has one, at 0.
func (k *Kernel) CPUAreas() []CPUArea {
	limit := 1
	if addr, err := k.Symbol("nr_cpu_ids"); err == nil {
		if n, err := k.Uint32(addr); err == nil {
			limit = int(min(uint64(n), k.machine.maxCPUs()))
		}
	}
	var list []CPUArea
	for cpu := range limit {
		if offset, err := k.PerCPU(0, uint64(cpu)); err == nil {
			list = append(list, CPUArea{cpu, offset})
		}
	}
	return list
}
