package dump

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// The layout of kdump-compressed files: struct disk_dump_header, struct
// kdump_sub_header and struct page_desc of makedumpfile's diskdump_mod.h,
// described in its IMPLEMENTATION file. The structures are those of the machine
// that wrote the file, so the byte order and the width of a long vary.
const (
	kdumpSignature    = "KDUMP   "
	diskdumpSignature = "DISKDUMP"

	utsField = 65  // bytes of each of the six strings of struct new_utsname
	utsAt    = 12  // offset of the utsname
	timeAt32 = 404 // offsets of the struct timeval
	timeAt64 = 408
	restAt32 = 412 // offsets of what follows it
	restAt64 = 424
	headSize = 464 // of the larger form, without the task pointers
)

// Bits of disk_dump_header.status.
const (
	statusZlib     = 0x1
	statusLZO      = 0x2
	statusSnappy   = 0x4
	statusPartial  = 0x8 // DUMP_DH_COMPRESSED_INCOMPLETE, since makedumpfile 1.5.8
	statusVmemmap  = 0x10
	statusZstd     = 0x20
	newestKdump    = 6
	maxKdumpHeader = 16 // versions beyond this are taken for damage
)

// kdumpHeader is the main header and the sub-header.
type kdumpHeader struct {
	order     binary.ByteOrder
	is64      bool
	version   int
	uts       Utsname
	time      time.Time
	status    uint32
	blockSize uint64
	subBlocks uint64 // of the sub-header, in blocks
	mapBlocks uint64 // of both bitmaps, in blocks
	maxMapNr  uint64 // one past the last PFN
	cpus      int

	physBase   uint64
	dumpLevel  int // -1 before version 1
	split      bool
	startPFN   uint64
	endPFN     uint64
	vmcoreinfo fileRange
	notes      fileRange
	eraseInfo  fileRange
}

// fileRange is a place in the file that a header names.
type fileRange struct{ off, size uint64 }

func isKdump(head []byte) bool { return bytes.HasPrefix(head, []byte(kdumpSignature)) }

// readKdumpHeader reads both headers and checks them against each other and
// against the size of the file.
func readKdumpHeader(s store) (*kdumpHeader, error) {
	raw, err := s.view(0, headSize, nil)
	if err != nil {
		return nil, damaged(s, 0, "the file ends within its header: it is cut short")
	}
	h, err := detectKdump(s, raw)
	if err != nil {
		return nil, err
	}
	h.readMain(raw)
	if err := h.readSub(s); err != nil {
		return nil, err
	}
	return h, h.check(s)
}

// detectKdump finds the byte order and the width of a long, which the file
// does not name: only one of the four readings makes sense.
func detectKdump(s store, raw []byte) (*kdumpHeader, error) {
	machine := fields{data: raw}.text(utsAt+4*utsField, utsField)
	var best *kdumpHeader
	bestScore := 0
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, is64 := range []bool{true, false} {
			h := &kdumpHeader{order: order, is64: is64}
			h.readMain(raw)
			if score := h.plausible(machine); score > bestScore {
				best, bestScore = h, score
			}
		}
	}
	if best == nil {
		return nil, damaged(s, 8, "the header of this kdump file makes no sense in either byte order")
	}
	return best, nil
}

// plausible scores a reading of the main header; 0 is impossible.
func (h *kdumpHeader) plausible(machine string) int {
	if h.version < 0 || h.version > maxKdumpHeader || !validBlockSize(h.blockSize) ||
		h.subBlocks == 0 || h.subBlocks > 1<<16 || h.mapBlocks == 0 {
		return 0
	}
	score := 1
	if h.mapBlocks%2 == 0 {
		score++
	}
	if h.mapBlocks*h.blockSize*4 >= h.maxMapNr {
		score++
	}
	if arch64, known := machineWidth(machine); known && arch64 == h.is64 {
		score += 4
	}
	if h.cpus >= 0 && h.cpus < 1<<20 {
		score++
	}
	return score
}

// validBlockSize: a block is a page of the machine that wrote the dump.
func validBlockSize(n uint64) bool {
	return n >= 4096 && n <= 1<<20 && bits.OnesCount64(n) == 1
}

// machineWidth tells whether uname -m names a 64-bit machine.
func machineWidth(machine string) (is64, known bool) {
	switch machineArch(machine) {
	case ArchX86_64, ArchARM64, ArchPPC64, ArchS390X, ArchRISCV64:
		return true, true
	case ArchX86, ArchARM:
		return false, true
	}
	return false, false
}

// machineArch is the architecture by uname -m.
func machineArch(machine string) Arch {
	switch {
	case machine == "x86_64":
		return ArchX86_64
	case len(machine) == 4 && machine[0] == 'i' && strings.HasSuffix(machine, "86"):
		return ArchX86
	case machine == "aarch64" || machine == "aarch64_be" || machine == "arm64":
		return ArchARM64
	case strings.HasPrefix(machine, "arm"):
		return ArchARM
	case machine == "ppc64" || machine == "ppc64le":
		return ArchPPC64
	case machine == "s390x":
		return ArchS390X
	case machine == "riscv64":
		return ArchRISCV64
	}
	return ArchUnknown
}

// readMain reads struct disk_dump_header.
func (h *kdumpHeader) readMain(raw []byte) {
	f := fields{raw, h.order, h.is64}
	timeAt, at := timeAt32, restAt32
	if h.is64 {
		timeAt, at = timeAt64, restAt64
	}
	h.version = int(int32(f.u32(8)))
	for i, field := range []*string{&h.uts.Sysname, &h.uts.Nodename, &h.uts.Release,
		&h.uts.Version, &h.uts.Machine, &h.uts.Domainname} {
		*field = f.text(utsAt+i*utsField, utsField)
	}
	sec, usec := int64(f.long(timeAt)), int64(f.long(timeAt+(at-timeAt)/2))
	if sec > 0 && sec < 1<<36 && usec >= 0 && usec < 1e6 {
		h.time = time.Unix(sec, usec*1000).UTC()
	}
	h.status = f.u32(at)
	h.blockSize = uint64(f.u32(at + 4))
	h.subBlocks = uint64(f.u32(at + 8))
	h.mapBlocks = uint64(f.u32(at + 12))
	h.maxMapNr = uint64(f.u32(at + 16))
	h.cpus = int(int32(f.u32(at + 36)))
}

// readSub reads struct kdump_sub_header, whose length grew with the version.
func (h *kdumpHeader) readSub(s store) error {
	const longest = 104
	data, err := s.view(int64(h.blockSize), longest, nil)
	if err != nil {
		return damaged(s, int64(h.blockSize), "the file ends within its sub-header: it is cut short")
	}
	f := fields{data, h.order, h.is64}
	at := h.subOffsets()
	h.physBase, h.dumpLevel, h.endPFN = f.long(0), -1, h.maxMapNr
	if h.version >= 1 {
		h.dumpLevel = int(int32(f.u32(at.level)))
	}
	if h.version >= 2 {
		h.split = f.u32(at.level+4) != 0
		h.startPFN, h.endPFN = f.long(at.start), f.long(at.end)
	}
	if h.version >= 3 {
		h.vmcoreinfo = fileRange{f.u64(at.vmcoreinfo), f.long(at.vmcoreinfo + 8)}
	}
	if h.version >= 4 {
		h.notes = fileRange{f.u64(at.notes), f.long(at.notes + 8)}
	}
	if h.version >= 5 {
		h.eraseInfo = fileRange{f.u64(at.erase), f.long(at.erase + 8)}
	}
	if h.version >= 6 {
		// The old fields hold the low 32 bits only on 32-bit machines.
		h.startPFN, h.endPFN, h.maxMapNr = f.u64(at.wide), f.u64(at.wide+8), f.u64(at.wide+16)
	}
	if !h.split {
		h.startPFN, h.endPFN = 0, h.maxMapNr
	}
	return nil
}

// subOffsets are the places of the sub-header's members, in bytes.
type subOffsets struct{ level, start, end, vmcoreinfo, notes, erase, wide int }

// subOffsets depends on how the writing machine aligns 64-bit members: x86
// packs them to 4 bytes (and QEMU does so for all 32-bit machines), ARM does
// not.
func (h *kdumpHeader) subOffsets() subOffsets {
	switch {
	case h.is64:
		return subOffsets{8, 16, 24, 32, 48, 64, 80}
	case machineArch(h.uts.Machine) == ArchX86 || h.uts.Release == "":
		return subOffsets{4, 12, 16, 20, 32, 44, 56}
	}
	return subOffsets{4, 12, 16, 24, 40, 56, 72}
}

// check refuses headers that contradict themselves or the file.
func (h *kdumpHeader) check(s store) error {
	maps := (1 + h.subBlocks) * h.blockSize
	mapBytes := h.mapBlocks * h.blockSize
	switch {
	case h.maxMapNr == 0:
		return damaged(s, int64(h.blockSize), "the header says that the machine has no memory (max_mapnr is 0)")
	case h.maxMapNr > ^uint64(0)/h.blockSize:
		return damaged(s, int64(h.blockSize), fmt.Sprintf("the header says that the machine has %#x pages of %d bytes, more than can be addressed", h.maxMapNr, h.blockSize))
	case h.maxMapNr > mapBytes/2*8:
		return damaged(s, int64(h.blockSize), fmt.Sprintf("the bitmaps have %d bits each, too few for %d pages", mapBytes/2*8, h.maxMapNr))
	case !inStore(int64(maps), int64(mapBytes), s.size()):
		return damaged(s, int64(maps), fmt.Sprintf("the bitmaps (%d bytes) reach past the end of the file (%d bytes): it is cut short", mapBytes, s.size()))
	case h.startPFN > h.endPFN || h.startPFN > h.maxMapNr:
		return damaged(s, int64(h.blockSize), fmt.Sprintf("the sub-header says that this part holds the pages from %#x to %#x of %#x", h.startPFN, h.endPFN, h.maxMapNr))
	}
	h.endPFN = min(h.endPFN, h.maxMapNr)
	return nil
}

// byQEMU tells QEMU's files from makedumpfile's: QEMU knows nothing of the
// guest but the machine (dump.c, create_header64).
func (h *kdumpHeader) byQEMU() bool {
	return h.uts.Machine != "" && h.uts.Release == "" && h.uts.Sysname == "" && h.uts.Nodename == ""
}
