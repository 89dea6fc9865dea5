package dump

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// FormatVMware is the memory of a suspended or snapshotted VMware machine: a
// .vmss or .vmsn file (crash vmware_vmss.h), alone or with its .vmem.
const FormatVMware Format = "VMware memory"

// vmFlat is how much memory a VMware machine has without a hole in it: at 3
// GiB begins the room of its PCI devices, and what is more goes to 4 GiB.
const vmFlat = 3 << 30

// vmPage is the page of a region's numbers, in bytes.
const vmPage = 4096

// openVMware opens a state file with its memory, which is in it or in a .vmem
// file of its own.
func openVMware(stores []store, opt *options) (Image, error) {
	state, memory, err := sortVMware(stores)
	if err != nil {
		return nil, err
	}
	st := &vmState{}
	if state != nil {
		if st, err = readVMState(state); err != nil {
			return nil, err
		}
	}
	base := int64(0)
	size := int64(0)
	switch {
	case memory != nil && st.memory.size > 0:
		return nil, &FileError{File: memory.name(), Offset: -1, Kind: ErrFormat,
			What: fmt.Sprintf("the memory is in %s already; give that file only", state.name())}
	case memory != nil:
		size = memory.size()
	case st.memory.packed:
		return nil, &FileError{File: state.name(), Offset: st.memory.off, Kind: ErrUnsupported,
			What: "its memory is packed; resume the machine and suspend it or take a snapshot with memory compression off"}
	case st.memory.size > 0:
		memory, base, size = state, st.memory.off, st.memory.size
	default:
		return nil, &FileError{File: state.name(), Offset: -1, Kind: ErrUnsupported,
			What: "the state of a VMware machine without its memory, which is in a .vmem file: put that beside it under the same name, or name both files"}
	}
	img := newSpanImage(memory, vmFacts(stores, st))
	if err := img.vmSpans(st, uint64(base), uint64(size)); err != nil {
		return nil, err
	}
	for _, s := range stores {
		if s != memory {
			img.others = append(img.others, s)
		}
	}
	img.finish(opt)
	return img, nil
}

// sortVMware tells the state file from the memory, whatever their order.
func sortVMware(stores []store) (state, memory store, err error) {
	for _, s := range stores {
		which := &memory
		if isVMwareState(headOf(s)) {
			which = &state
		}
		if *which != nil {
			return nil, nil, &FileError{File: s.name(), Offset: -1, Kind: ErrFormat,
				What: fmt.Sprintf("a VMware machine has one state file and one memory file, and %s is one of the same kind", (*which).name())}
		}
		*which = s
	}
	if state == nil && memory.size() > vmFlat {
		return nil, nil, &FileError{File: memory.name(), Offset: -1, Kind: ErrUnsupported,
			What: "the memory of a VMware machine of more than 3 GiB, without the .vmss or .vmsn file that tells where its holes are: put that beside it under the same name, or name both files (a .guest file is not read)"}
	}
	return state, memory, nil
}

func vmFacts(stores []store, st *vmState) Facts {
	f := rawFacts(stores[0], FormatVMware, binary.LittleEndian)
	for _, s := range stores[1:] {
		f.Files = append(f.Files, s.name())
	}
	f.Arch = ArchX86_64
	f.PageSize = vmPage
	for _, n := range slices.Sorted(maps.Keys(st.cpus)) {
		f.CPUs = append(f.CPUs, *st.cpus[n])
	}
	if st.cut != "" {
		f.Incomplete = true
		f.warn("the state file is damaged or cut short: %s", st.cut)
	}
	if int(st.numCPU) > len(f.CPUs) {
		f.warn("the state file has registers of %d processors of %d", len(f.CPUs), st.numCPU)
	}
	return f
}

// vmSpans places the regions, or all of memory from address 0 on where there
// are none. The memory is size bytes at base in its file.
func (e *spanImage) vmSpans(st *vmState, base, size uint64) error {
	claims := &spanClaims{fileSize: uint64(e.file.size())}
	list := st.memoryRegions(size)
	for _, r := range list {
		claims.add(r.ppn*vmPage, base+r.page*vmPage, r.size*vmPage, r.size*vmPage)
	}
	if len(list) == 0 {
		claims.add(0, base, size, size)
		if size > vmFlat {
			e.facts.warn("the state file names no regions of memory; memory above 3 GiB may be found at wrong addresses")
		}
	}
	if cut := e.setSpans(claims); cut > 0 {
		e.facts.Incomplete = true
		e.facts.warn("the memory is cut short: the file ends at %d bytes", e.file.size())
	}
	if len(e.spans) == 0 {
		return damaged(e.file, -1, "its regions describe no memory")
	}
	return nil
}

// memoryRegions returns the regions by their place in the memory file. One
// whose size is not told reaches to the next.
func (st *vmState) memoryRegions(size uint64) []vmRegion {
	const top = 1 << 40 // pages: more than addresses have, and no overflow
	var list []vmRegion
	for i, r := range st.regions {
		if i < st.numRegion && r.ppn < top && r.page < top && r.size < top {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b vmRegion) int {
		return cmp.Or(cmp.Compare(a.page, b.page), cmp.Compare(a.ppn, b.ppn))
	})
	for i := range list {
		next := (size + vmPage - 1) / vmPage
		if i+1 < len(list) {
			next = list[i+1].page
		}
		if list[i].size == 0 && next > list[i].page {
			list[i].size = next - list[i].page
		}
	}
	return list
}

// isVMem tells by the name whether a file is the memory of a VMware machine:
// it has no header.
func isVMem(s store) bool { return strings.EqualFold(filepath.Ext(s.name()), ".vmem") }

// isVMware tells whether the files are those of a VMware machine.
func isVMware(stores []store) bool {
	return slices.ContainsFunc(stores, func(s store) bool { return isVMwareState(headOf(s)) || isVMem(s) })
}

// vmSiblings opens the file of the same name that belongs to a VMware file: the
// state of a memory file, the memory of a state file that has none in it.
func vmSiblings(own store, noMap bool) (found []store) {
	var exts []string
	_ = Guard(func() error { // what is wrong with the file will be said when it is opened
		head := headOf(own)
		if isVMwareState(head) {
			if st, err := readVMState(own); err == nil && st.memory.size == 0 {
				exts = []string{".vmem"}
			}
		} else if isVMem(own) && !isELF(head) && !isKdump(head) {
			exts = []string{".vmss", ".vmsn"}
		}
		return nil
	})
	stem := strings.TrimSuffix(own.name(), filepath.Ext(own.name()))
	for _, ext := range exts {
		other, err := openDump(stem+ext, noMap)
		if err != nil {
			continue
		}
		if ext == ".vmem" || isVMwareState(headOf(other)) {
			return []store{other}
		}
		_ = other.close() // opened for reading only
	}
	return nil
}

// isVMGuest tells the file debug.guest that VMware writes beside debug.vmem: it
// begins with its version, 1 to 7, and the number of processors, and has no
// magic number (crash vmware_guestdump.c, by VMware).
func isVMGuest(name string, head []byte) bool {
	const versions, processors = 7, 4096
	if len(head) < 8 || !strings.EqualFold(filepath.Ext(name), ".guest") {
		return false
	}
	v, n := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
	return v-1 < versions && n-1 < processors
}
