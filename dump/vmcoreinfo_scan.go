package dump

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// The kernel keeps VMCOREINFO twice: as text in a page of its own, and as an
// ELF note (Linux kernel/crash_core.c, kernel/vmcore_info.c since 6.8;
// kernel/kexec_core.c before 4.13, where both are arrays among other data). The
// text begins with the release.
const (
	infoFirst   = "OSRELEASE="
	infoNote    = "VMCOREINFO\x00\x00" // the note's name with its padding
	infoHead    = 12 + len(infoNote)   // of the note
	infoMax     = 64 << 10             // bytes of text: a page of any architecture
	infoTries   = 1024                 // texts that are looked at closely
	infoNear    = 4 << 20              // bytes around the text where its note may be
	infoPortion = 64 << 20             // bytes between two reports of progress
)

// foundInfo is a VMCOREINFO in memory.
type foundInfo struct {
	addr  uint64 // physical address of the text
	note  bool   // it is in a note
	info  *VMCoreInfo
	uts   *Utsname         // what init_uts_ns says in memory, nil where it cannot be read
	order binary.ByteOrder // of the note, nil of a bare text
}

// better orders the findings that nothing confirms: notes before bare text,
// then the lower address.
func (f *foundInfo) better(other *foundInfo) bool {
	if other == nil || f.note != other.note {
		return other == nil || f.note
	}
	return f.addr < other.addr
}

// errInfoFound ends the search.
var errInfoFound = errors.New("found")

// infoScan looks for VMCOREINFO in the memory of an image.
type infoScan struct {
	img   Image
	tries atomic.Int32
	mu    sync.Mutex
	sure  *foundInfo // init_uts_ns in memory says the same
	maybe *foundInfo
	other int // texts that are another kernel's
}

// scanVMCoreInfo searches memory in the order of the file for a VMCOREINFO that
// belongs to the kernel in it, and stops at the first. A machine's memory may
// have others: of a kernel that ran before, of guests, of dumps in the page
// cache. The one that counts leads to an init_uts_ns with the same release.
// A note is preferred to a bare text.
func scanVMCoreInfo(img Image, o *options) (*foundInfo, int, error) {
	s := &infoScan{img: img}
	var done atomic.Int64
	written := img
	if e, ok := img.(*spanImage); ok {
		written = e.withoutHoles()
	}
	total := int64(0)
	for r := range written.Ranges() {
		total += int64(r.Size())
	}
	err := written.Sweep(o.ctx, runtime.GOMAXPROCS(0), func(_ int, p Page) error {
		size := int64(len(p.Data))
		if now := done.Add(size); now/infoPortion != (now-size)/infoPortion {
			o.tell("looking for VMCOREINFO in memory", now, total)
		}
		return s.page(p.Addr, p.Data)
	})
	if err != nil && !errors.Is(err, errInfoFound) {
		return nil, 0, err
	}
	if s.sure != nil && !s.sure.note {
		s.findNote()
	}
	return cmp.Or(s.sure, s.maybe), s.other, nil
}

// findNote looks for the note that belongs to a bare text. Only the note has
// the CRASHTIME of a panic; the kernel takes its pages together with those of
// the text, so it is not far away.
func (s *infoScan) findNote() {
	text := s.sure.addr
	head := make([]byte, infoHead+len(infoFirst))
	for page := text - min(text, infoNear); page < text+infoNear; page += 4096 {
		if _, err := s.img.ReadPhys(head, page); err != nil || string(head[12:]) != infoNote+infoFirst {
			continue
		}
		found := s.read(page + uint64(infoHead))
		if found != nil && found.note && strings.HasPrefix(found.info.Raw, s.sure.info.Raw) && s.confirm(found) == infoSure {
			s.sure = found
			return
		}
	}
}

// page looks for the beginning of the text in a page. Both copies of it are
// aligned to four bytes at least, so that its first four lie in one page.
func (s *infoScan) page(addr uint64, data []byte) error {
	first := binary.LittleEndian.Uint32([]byte(infoFirst))
	for at := 0; at+8 <= len(data); at += 8 {
		word := binary.LittleEndian.Uint64(data[at:])
		if uint32(word) != first && uint32(word>>32) != first {
			continue
		}
		for half := at; half < at+8; half += 4 {
			if binary.LittleEndian.Uint32(data[half:]) != first {
				continue
			}
			if err := s.consider(addr+uint64(half), data[:half]); err != nil {
				return err
			}
		}
	}
	return nil
}

// consider looks at the text at an address; before are the bytes of the page
// in front of it.
func (s *infoScan) consider(addr uint64, before []byte) error {
	// Nearly all that is found elsewhere is the string in programs and logs.
	note := bytes.HasSuffix(before, []byte(infoNote)) || len(before) < len(infoNote)
	bare := len(before) == 0 || before[len(before)-1] == 0
	if !note && !bare || s.tries.Load() >= infoTries {
		return nil
	}
	found := s.read(addr)
	if found == nil {
		return nil
	}
	s.tries.Add(1)
	verdict := s.confirm(found)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case verdict == infoOther:
		s.other++
	case verdict == infoSure && (s.sure == nil || found.better(s.sure)):
		s.sure = found
	case verdict == infoMaybe && found.better(s.maybe):
		s.maybe = found
	}
	if verdict == infoSure {
		return errInfoFound
	}
	return nil
}

// read reads the text at an address, and the head of the note before it. It
// returns nil for what is no VMCOREINFO.
func (s *infoScan) read(addr uint64) *foundInfo {
	found := &foundInfo{addr: addr}
	size := infoMax
	head := make([]byte, infoHead)
	if n, _ := s.img.ReadPhys(head, addr-uint64(infoHead)); n == len(head) && string(head[12:]) == infoNote {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			f := fields{data: head, order: order}
			if n := f.u32(4); f.u32(0) == uint32(len(infoNote))-1 && n <= infoMax && f.u32(8) == 0 {
				found.note, found.order, size = true, order, int(n)
			}
		}
	}
	text := make([]byte, size)
	n, _ := s.img.ReadPhys(text, addr) // what can be read may be all there is
	text = text[:n]
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	if !plausibleInfo(text) {
		return nil
	}
	found.info = ParseVMCoreInfo(text)
	return found
}

// plausibleInfo tells whether a text is a VMCOREINFO as kernels write it:
// lines of printable characters, of which the second is BUILD-ID (since 5.10)
// or PAGESIZE.
func plausibleInfo(text []byte) bool {
	first, rest, _ := strings.Cut(string(text), "\n")
	release, ok := strings.CutPrefix(first, infoFirst)
	if !ok || release == "" || len(release) > 64 ||
		!strings.HasPrefix(rest, "BUILD-ID=") && !strings.HasPrefix(rest, "PAGESIZE=") ||
		!strings.Contains(rest, "\nSYMBOL(") {
		return false
	}
	return !bytes.ContainsFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') })
}

type infoVerdict int

const (
	infoMaybe infoVerdict = iota
	infoSure              // init_uts_ns says the same
	infoOther             // where init_uts_ns should be is something else
)

// confirm compares the text with the init_uts_ns that it points to.
func (s *infoScan) confirm(f *foundInfo) infoVerdict {
	_, known := utsAddresses(f.info)
	uts, readable := findUts(s.img, f.info)
	switch {
	case uts != nil:
		f.uts = uts
		return infoSure
	case known && readable:
		return infoOther
	}
	return infoMaybe
}

// Uname is what uname(2) said on the dumped machine: from the dump's header, or
// from the kernel's memory to which VMCOREINFO leads (init_uts_ns, Linux
// init/version.c). It returns false where neither has it.
func Uname(img Image) (Utsname, bool) {
	f := img.Facts()
	if f.Uts.Nodename != "" {
		return f.Uts, true
	}
	if f.VMCoreInfo != nil {
		if uts, _ := findUts(img, f.VMCoreInfo); uts != nil {
			return *uts, true
		}
	}
	return f.Uts, f.Uts.Release != ""
}

// findUts reads the init_uts_ns that a VMCOREINFO points to, nil if there is
// none with the same release; readable says whether its place could be read.
func findUts(img Image, info *VMCoreInfo) (found *Utsname, readable bool) {
	release, _ := info.Get("OSRELEASE")
	at, _ := utsAddresses(info)
	for _, addr := range at {
		// struct uts_namespace begins with its struct new_utsname since 5.11,
		// before that with a counter of 4 bytes.
		offset, told := info.Offset("uts_namespace.name")
		for _, off := range []uint64{offset, 0, 4, 8} {
			uts, err := readUts(img, addr+off)
			readable = readable || err == nil
			if err == nil && uts.Sysname == "Linux" && uts.Release == release {
				return uts, true
			}
			if told {
				break
			}
		}
	}
	return nil, readable
}

// utsAddresses are the physical addresses that init_uts_ns may have; known says
// that they follow from the text and are not guessed.
func utsAddresses(v *VMCoreInfo) (at []uint64, known bool) {
	virt, ok := v.Symbol("init_uts_ns")
	if !ok {
		return nil, false
	}
	if base, ok := v.Number("phys_base"); ok { // x86_64: __START_KERNEL_map
		return []uint64{virt - 0xffffffff80000000 + uint64(base)}, true
	}
	if off, ok := v.Number("kimage_voffset"); ok { // arm64
		return []uint64{virt - uint64(off)}, true
	}
	if off, ok := v.Number("va_kernel_pa_offset"); ok { // riscv64, since 6.5
		return []uint64{virt - uint64(off)}, true
	}
	// Kernel maps that begin at an address of the architecture: x86_64 not
	// moved, ppc64, i386 and arm, s390x.
	for _, base := range []uint64{0xffffffff80000000, 0xc000000000000000, 0xc0000000, 0} {
		if virt >= base {
			at = append(at, virt-base)
		}
	}
	return at, false
}

// readUts reads a struct new_utsname (Linux include/uapi/linux/utsname.h): six
// strings of 65 bytes.
func readUts(img Image, addr uint64) (*Utsname, error) {
	const field = 65
	buf := make([]byte, 6*field)
	if _, err := img.ReadPhys(buf, addr); err != nil {
		return nil, err
	}
	f := fields{data: buf}
	var text [6]string
	for i := range text {
		text[i] = f.text(i*field, field)
	}
	return &Utsname{text[0], text[1], text[2], text[3], text[4], text[5]}, nil
}

// findVMCoreInfo completes the facts of an image that has no VMCOREINFO with
// the one in its memory.
func findVMCoreInfo(img Image, o *options) error {
	f := img.Facts()
	if f.VMCoreInfo != nil || o.noScan {
		return nil
	}
	found, other, err := scanVMCoreInfo(img, o)
	if err != nil {
		return fmt.Errorf("looking for VMCOREINFO in memory: %w", err)
	}
	if other > 0 && (found == nil || found.uts == nil) {
		f.warn("memory has %d VMCOREINFO that belong to other kernels: guests, or one that ran before", other)
	}
	if found == nil {
		return nil
	}
	f.learn(found)
	if p, ok := img.(interface{ settlePageSize(*options) }); ok {
		p.settlePageSize(o)
	}
	return nil
}

// settlePageSize takes the page size from a VMCOREINFO that was found after the
// image was made: the format does not tell it.
func (e *spanImage) settlePageSize(opt *options) {
	e.facts.PageSize = 0
	e.facts.settlePageSize()
	e.makeCache(opt)
}

func (a *avmlImage) settlePageSize(*options) {
	a.facts.PageSize = 0
	a.facts.settlePageSize()
}

// learn adds what a VMCOREINFO in memory tells.
func (f *Facts) learn(found *foundInfo) {
	f.VMCoreInfo = found.info
	f.Variant = append(f.Variant, "VMCOREINFO found in memory")
	if found.uts == nil {
		f.warn("the VMCOREINFO was found in memory at physical address %#x; nothing there tells whether it is of this kernel", found.addr)
	}
	if found.order != nil && f.Arch == ArchUnknown {
		f.ByteOrder = found.order
	}
	if found.uts != nil && f.Uts.Release == "" {
		f.Uts = *found.uts
	}
	if arch := found.arch(); f.Arch == ArchUnknown && arch != ArchUnknown {
		f.Arch = arch
		f.Is64, _ = machineWidth(string(arch))
	}
	f.takeFromInfo()
}

// arch is the architecture of the kernel that wrote the text.
func (f *foundInfo) arch() Arch {
	if f.uts != nil {
		return machineArch(f.uts.Machine)
	}
	return f.info.arch()
}
