package dumpwriter

import (
	"encoding/binary"
	"io"
)

// VMwareCPU is the state of a processor for VMware.
type VMwareCPU struct {
	General [16]uint64 // rax, rcx, rdx, rbx, rbp, rsp, rsi, rdi, r8 to r15
	RIP     uint64
	Flags   uint64
	CR      [5]uint64
	IDT     uint64
}

// VMware writes the state file of a suspended machine to state, and its memory
// to vmem, or into the state file where vmem is nil. The layout is that of
// crash's vmware_vmss.h; crash 8.0.2 opens the files. Blocks says to write
// registers as blocks, as newer products do. Errors are those of the writers and
// of mem.
func VMware(state, vmem io.WriterAt, mem Memory, cpus []VMwareCPU, blocks bool, cfg Config) error {
	c := cfg.withDefaults()
	c.Order = binary.LittleEndian
	segs := c.segments(mem)
	tags := &vmTags{}
	tags.number("align_mask", 4, 0xffff)
	tags.number("regionsCount", 4, uint64(len(segs)))
	pages := uint64(0)
	for i, seg := range segs {
		tags.number("regionPPN", 4, seg.first, i)
		tags.number("regionPageNum", 4, pages, i)
		tags.number("regionSize", 4, seg.present, i)
		pages += seg.present
	}
	cpuTags := vmCPUTags(cpus, blocks)

	const header = 12 + 2*80
	memoryAt := int64(header + len(cpuTags.data))
	if vmem == nil {
		tags.head("Memory", 63, 0, 0)
		at := memoryAt + int64(len(tags.data)) + 18
		pad := roundUp(at, 65536) - at
		size := pages * uint64(c.PageSize)
		tags.data = binary.LittleEndian.AppendUint64(tags.data, size)
		tags.data = binary.LittleEndian.AppendUint64(tags.data, size)
		tags.data = binary.LittleEndian.AppendUint16(tags.data, uint16(pad))
		tags.data = append(tags.data, make([]byte, pad)...)
	}
	out := newCursor(state, 0)
	out.write(vmHeader(header, cpuTags.data, tags.data))
	out.write(cpuTags.data)
	out.write(tags.data)
	memory := out
	if vmem != nil {
		memory = newCursor(vmem, 0)
	}
	for _, seg := range segs {
		if err := c.eachPage(mem, seg, func(page []byte) { memory.write(page) }); err != nil {
			return err
		}
	}
	if vmem != nil {
		if err := memory.flush(); err != nil {
			return err
		}
	}
	// crash 8.0.2 reads more records of groups than there are, so that a state
	// file must not be small.
	out.write(make([]byte, max(2, 32768-out.at)))
	return out.flush()
}

// vmHeader is the header with its two groups.
func vmHeader(size int, cpu, memory []byte) []byte {
	s := &structure{order: binary.LittleEndian, bits: 64, align: 4}
	s.u32(0xbed2bed2)
	s.u32(8)
	s.u32(2)
	s.text("cpu", 64)
	s.u64(uint64(size))
	s.u64(uint64(len(cpu)))
	s.text("memory", 64)
	s.u64(uint64(size + len(cpu)))
	s.u64(uint64(len(memory)))
	return s.data
}

func vmCPUTags(cpus []VMwareCPU, blocks bool) *vmTags {
	names := []string{"rax", "rcx", "rdx", "rbx", "rbp", "rsp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}
	t := &vmTags{}
	t.number("cpu:numVCPUs", 4, uint64(len(cpus)))
	for i, cpu := range cpus {
		t.number("rip", 8, cpu.RIP, i)
		t.number("eflags", 4, cpu.Flags, i)
		if blocks {
			t.block("gpregs", cpu.General[:], i)
			t.block("CR64", append(cpu.CR[:], 0, 0, 0, 0), i)
		} else {
			for j, name := range names {
				t.number(name, 8, cpu.General[j], i)
			}
			for j, cr := range cpu.CR {
				t.number("CR64", 8, cr, i, j)
			}
		}
		t.number("IDTR", 2, 4095, i, 0)
		t.number("IDTR", 4, cpu.IDT&0xffffffff, i, 1)
		t.number("IDTR", 4, cpu.IDT>>32, i, 2)
	}
	t.data = append(t.data, 0, 0)
	return t
}

// vmTags is a list of tags.
type vmTags struct{ data []byte }

func (t *vmTags) head(name string, size int, index ...int) {
	t.data = append(t.data, byte(len(index)<<6|size), byte(len(name)))
	t.data = append(t.data, name...)
	for _, i := range index {
		t.data = binary.LittleEndian.AppendUint32(t.data, uint32(i))
	}
}

func (t *vmTags) number(name string, size int, value uint64, index ...int) {
	t.head(name, size, index...)
	t.data = append(t.data, binary.LittleEndian.AppendUint64(nil, value)[:size]...)
}

func (t *vmTags) block(name string, values []uint64, index ...int) {
	t.head(name, 63, index...)
	for range 2 {
		t.data = binary.LittleEndian.AppendUint64(t.data, uint64(8*len(values)))
	}
	t.data = append(t.data, 0, 0)
	for _, v := range values {
		t.data = binary.LittleEndian.AppendUint64(t.data, v)
	}
}
