package dump

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The state file of a suspended VMware machine (.vmss) or of a snapshot
// (.vmsn) is a header of three 32-bit words (magic, version, number of groups),
// the groups (a name of 64 bytes, the file offset of their tags, a size), and
// lists of tags. A tag is a byte that has the number of indices in its upper
// two bits and the size of the value in the others, a byte with the length of
// the name, the name, the indices of 32 bits, and the value. The sizes 62
// (packed) and 63 stand for a block: its bytes in the file and in memory in 64
// bits each, a 16-bit number of bytes to pass over, and the block. A tag of two
// zero bytes ends the list. (crash vmware_vmss.h and .c, by VMware; Volatility
// vmware.py. All numbers are little-endian.)
const (
	vmHeaderSize  = 12
	vmGroupSize   = 80
	vmTagIndices  = 3
	vmTagPacked   = 62
	vmTagBlock    = 63
	vmBlockHead   = 18
	vmMaxTagBytes = 2 + 255 + 4*vmTagIndices + vmTagPacked
)

// The magics of state files; the first two are of 32-bit products, whose blocks
// have other heads.
const (
	vmMagicOld     = 0xbed0bed0
	vmMagicOlder   = 0xbed2bed0
	vmMagic        = 0xbed2bed2
	vmMagicPartial = 0xbed3bed3
	vmMagicRestore = 0xbad1bad1
	vmMagicNoRest  = 0xbad2bad2
)

func isVMwareState(head []byte) bool {
	if len(head) < vmHeaderSize {
		return false
	}
	switch binary.LittleEndian.Uint32(head) {
	case vmMagicOld, vmMagicOlder, vmMagic, vmMagicPartial, vmMagicRestore, vmMagicNoRest:
		return true
	}
	return false
}

// vmState is what is used of a state file.
type vmState struct {
	regions   map[uint32]vmRegion // by index
	numRegion uint32              // as the file says
	memory    vmBlock             // the memory itself, where it is in the file
	cpus      map[uint32]*CPU
	numCPU    uint32
	cut       string // where the file ends before its tags do
}

// vmRegion is a stretch of the machine's memory, in pages of 4096 bytes.
type vmRegion struct {
	ppn  uint64 // first physical page
	page uint64 // place in the memory file
	size uint64 // 0 where the file does not tell
}

// vmBlock is a block of bytes in the state file.
type vmBlock struct {
	off, size int64
	packed    bool
}

// readVMState reads the groups that are used.
func readVMState(s store) (*vmState, error) {
	head, err := s.view(0, vmHeaderSize, nil)
	if err != nil {
		return nil, damaged(s, 0, "the file ends within its header")
	}
	f := fields{data: head, order: binary.LittleEndian}
	if magic := f.u32(0); magic == vmMagicOld || magic == vmMagicOlder {
		return nil, &FileError{File: s.name(), Offset: 0, Kind: ErrUnsupported,
			What: "the state of a machine of a 32-bit VMware product"}
	}
	groups := int64(f.u32(8))
	if !inStore(vmHeaderSize, groups*vmGroupSize, s.size()) {
		return nil, damaged(s, 8, fmt.Sprintf("the header announces %d groups, which reach past the end of the file (%d bytes): it is cut short", groups, s.size()))
	}
	st := &vmState{regions: map[uint32]vmRegion{}, cpus: map[uint32]*CPU{}}
	take := map[string]func(*vmTag){"memory": st.takeMemory, "cpu": st.takeCPU}
	for i := range groups {
		data, err := s.view(vmHeaderSize+i*vmGroupSize, vmGroupSize, nil)
		if err != nil {
			return nil, damaged(s, vmHeaderSize+i*vmGroupSize, err.Error())
		}
		f := fields{data: data, order: binary.LittleEndian}
		name := f.text(0, 64)
		if fn := take[name]; fn != nil {
			delete(take, name) // a second one would make the work quadratic
			if err := eachVMTag(s, clampOff(f.u64(64)), fn); err != nil {
				st.cut = fmt.Sprintf("the tags of its group %q break off: %v", name, err)
			}
		}
	}
	return st, nil
}

// vmTag is one tag.
type vmTag struct {
	name  string
	index []uint32
	value []byte // without a block
	block *vmBlock
	read  func(off int64, n int) []byte
}

// number is the value as an unsigned number.
func (t *vmTag) number() uint64 {
	var b [8]byte
	copy(b[:], t.value)
	return binary.LittleEndian.Uint64(b[:])
}

// at returns index i, or 0 if the tag has no such index.
func (t *vmTag) at(i int) uint32 {
	if i >= len(t.index) {
		return 0
	}
	return t.index[i]
}

// bytes returns the value, also that of a block of at most max bytes.
func (t *vmTag) bytes(max int64) []byte {
	if t.block == nil {
		return t.value
	}
	if t.block.packed || t.block.size > max {
		return nil
	}
	return t.read(t.block.off, int(t.block.size))
}

// eachVMTag calls fn for each tag of the list at an offset.
func eachVMTag(s store, pos int64, fn func(*vmTag)) error {
	read := func(off int64, n int) []byte {
		data, err := s.view(off, n, nil)
		if err != nil {
			return nil
		}
		return data
	}
	for pos >= 0 && pos < s.size() {
		data := read(pos, int(min(vmMaxTagBytes, s.size()-pos)))
		if len(data) < 2 {
			break
		}
		if data[0] == 0 && data[1] == 0 {
			return nil
		}
		t, n, err := parseVMTag(data)
		if err != nil {
			return fmt.Errorf("offset %#x: %w", pos, err)
		}
		pos += int64(n)
		if t.block != nil {
			t.block.off += pos
			if !inStore(t.block.off, 0, s.size()) || t.block.size < 0 {
				return fmt.Errorf("offset %#x: a block that reaches past the end of the file", pos)
			}
			pos = t.block.off + t.block.size
		}
		t.read = read
		fn(&t)
	}
	return fmt.Errorf("offset %#x: %w", pos, errCutShort)
}

// parseVMTag reads the tag at the beginning of data, and returns its length up
// to its block, if it has one.
func parseVMTag(data []byte) (t vmTag, n int, err error) {
	size, indices := int(data[0]&0x3f), int(data[0]>>6)
	n = 2 + int(data[1])
	isBlock := size >= vmTagPacked
	rest := size
	if isBlock {
		rest = vmBlockHead
	}
	if n+4*indices+rest > len(data) {
		return t, 0, errCutShort
	}
	t.name = string(bytes.TrimRight(data[2:n], "\x00"))
	f := fields{data: data, order: binary.LittleEndian}
	for range indices {
		t.index = append(t.index, f.u32(n))
		n += 4
	}
	if isBlock {
		t.block = &vmBlock{off: int64(f.u16(n + 16)), size: clampOff(f.u64(n)), packed: size == vmTagPacked}
	} else {
		t.value = data[n : n+rest]
	}
	return t, n + rest, nil
}

// takeMemory reads the tags of the group "memory".
func (st *vmState) takeMemory(t *vmTag) {
	r := st.regions[t.at(0)]
	switch t.name {
	case "regionsCount":
		st.numRegion = uint32(t.number())
		return
	case "regionPPN":
		r.ppn = t.number()
	case "regionPageNum":
		r.page = t.number()
	case "regionSize":
		r.size = t.number()
	case "Memory":
		if t.block != nil && st.memory.size == 0 {
			st.memory = *t.block
		}
		return
	default:
		return
	}
	st.regions[t.at(0)] = r
}
