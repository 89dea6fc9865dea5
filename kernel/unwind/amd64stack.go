package unwind

// Sizes of x86-64 stacks in bytes.
const (
	amd64ThreadSize = 16384 // since 3.15; 8192 before; twice as much with KASAN
	irqStackSize    = 16384 // IRQ_STACK_SIZE since 2.6.18
	exceptionSize   = 4096  // EXCEPTION_STKSZ until 5.1
	debugSize       = 8192  // DEBUG_STKSZ until 5.1
)

// irqStack is the stack for interrupts and softirqs. The pointer to its top was
// called irq_stack_ptr until 5.1 and was in pcpu_hot from 6.2 to 6.14; it lies up
// to 64 bytes below the end.
func (t *Tracer) irqStack(cpu int) []Stack {
	top := t.irqTop(cpu)
	if top == 0 {
		return nil
	}
	end := (top + pageSize - 1) &^ (pageSize - 1)
	return []Stack{{Name: irqStackName, CPU: cpu, Start: end - irqStackSize, End: end}}
}

const irqStackName = "IRQ"

// irqTop is where the IRQ stack begins to grow down, 0 if that is not known.
func (t *Tracer) irqTop(cpu int) uint64 {
	return t.perCPUWord(cpu, "hardirq_stack_ptr", "pcpu_hot.hardirq_stack_ptr", "irq_stack_ptr", "per_cpu__irq_stack_ptr")
}

// exceptionNames are the members of struct cea_exception_stacks by the names
// that the kernel prints.
var exceptionNames = map[string]string{
	"DF_stack": "#DF", "NMI_stack": "NMI", "DB_stack": "#DB", "DB1_stack": "#DB1", "DB2_stack": "#DB2",
	"MCE_stack": "#MC", "VC_stack": "#VC", "VC2_stack": "#VC2",
}

// entryAreaStacks are the stacks in the CPU's cpu_entry_area
// (arch/x86/include/asm/cpu_entry_area.h): those for exceptions, which since 5.2
// are members of struct cea_exception_stacks with guard pages in between, and the
// small one on which entry code begins.
func (t *Tracer) entryAreaStacks(cpu int) []Stack {
	at := t.perCPUWord(cpu, "cea_exception_stacks")
	typ, err := t.k.Type("struct cea_exception_stacks")
	if at == 0 || err != nil {
		return nil
	}
	var list []Stack
	for _, m := range typ.Members() {
		if name := exceptionNames[m.Name]; name != "" {
			start := at + uint64(m.Offset)
			list = append(list, Stack{Name: name, CPU: cpu, Start: start, End: start + uint64(m.Type.Size())})
		}
	}
	area, err := t.k.Type("struct cpu_entry_area")
	if err != nil {
		return list
	}
	stacks, err1 := area.Field("estacks")
	entry, err2 := area.Field("entry_stack_page")
	if err1 == nil && err2 == nil {
		start := at - uint64(stacks.Offset) + uint64(entry.Offset)
		list = append(list, Stack{Name: "entry", CPU: cpu, Start: start, End: start + uint64(entry.Type.Size())})
	}
	return list
}

// istStacks are the exception stacks until 5.1: orig_ist has the end of each, in
// the order of the interrupt stack table. There were five until 3.14, of which
// the first was for stack faults.
func (t *Tracer) istStacks(cpu int) []Stack {
	var variable uint64
	var err error
	for _, name := range []string{"orig_ist", "per_cpu__orig_ist"} {
		if variable, err = t.k.Symbol(name); err == nil {
			break
		}
	}
	if err != nil {
		return nil
	}
	at, err := t.k.PerCPU(variable, uint64(cpu))
	if err != nil {
		return nil
	}
	names := []string{"#DF", "NMI", "#DB", "#MC"}
	if fifth, err := t.k.Uint64(at + 4*8); err == nil && fifth != 0 {
		names = []string{"#SS", "#DF", "NMI", "#DB", "#MC"}
	}
	var list []Stack
	for i, name := range names {
		end, err := t.k.Uint64(at + uint64(8*i))
		if err != nil || end == 0 {
			continue
		}
		size := uint64(exceptionSize)
		if name == "#DB" {
			size = debugSize
		}
		list = append(list, Stack{Name: name, CPU: cpu, Start: end - size, End: end})
	}
	return list
}
