package dump

import (
	"encoding/binary"
	"strconv"
	"time"
)

// Format names a dump's file format.
type Format string

// The formats with the kernel's own notes: ELF cores (elf(5); Linux
// fs/proc/vmcore.c writes /proc/vmcore), and makedumpfile's compressed ones (its
// diskdump_mod.h and IMPLEMENTATION file).
const (
	FormatELF   Format = "ELF vmcore"
	FormatKdump Format = "kdump-compressed"
)

// Arch is the processor architecture of the dumped machine, by the name that
// uname -m gives it.
type Arch string

// The architectures named in dump headers.
const (
	ArchUnknown Arch = ""
	ArchX86     Arch = "i686"
	ArchX86_64  Arch = "x86_64"
	ArchARM     Arch = "arm"
	ArchARM64   Arch = "aarch64"
	ArchPPC64   Arch = "ppc64"
	ArchS390X   Arch = "s390x"
	ArchRISCV64 Arch = "riscv64"
)

// Facts is what the headers and notes of a dump say about the dump and its
// machine. What the dump does not tell is the zero value.
type Facts struct {
	Files     []string         // the files that make up the dump
	Format    Format           // the format of the file itself
	Variant   []string         // what is special about it: "flattened", "split in 3 parts", "captured by QEMU"
	Arch      Arch             // of the dumped machine
	ByteOrder binary.ByteOrder // of the dumped machine
	Is64      bool             // whether the machine's words are 64 bits wide
	PageSize  uint64           // in bytes; the unit of presence in the dump
	MaxPhys   uint64           // one past the highest physical address that the dump describes
	Uts       Utsname          // as the header has it; QEMU fills in the machine only
	Time      time.Time        // when the dump was taken (VMCOREINFO CRASHTIME or the header), zero if unknown
	DumpLevel int              // makedumpfile's -d, -1 where the format does not tell
	Version   int              // of the kdump-compressed header, 0 for other formats

	// VMCOREINFO as found in the dump, nil where there is none.
	VMCoreInfo *VMCoreInfo

	// PhysBase is the value that the header claims for the kernel's
	// phys_base; PhysBaseValid says whether it claims one. QEMU writes
	// garbage here, and VMCOREINFO's NUMBER(phys_base) goes before it.
	PhysBase      int64
	PhysBaseValid bool

	// CPUs are the processors' registers as the notes have them, in the
	// order of the notes.
	CPUs []CPU

	// Incomplete is set where the dump says itself that it was not written
	// to its end, or where a file is shorter than its headers demand.
	Incomplete bool
	// Warnings say what is wrong with the files though they can be read,
	// one sentence each.
	Warnings []string

	byQEMU    bool // header of QEMU's dump-guest-memory
	qemuNotes bool // notes of QEMU, which makedumpfile copies
	xen       bool // notes of a Xen hypervisor
	meters    []Meter
}

// finish settles what several sources in the dump say something about.
func (f *Facts) finish() {
	f.settlePageSize()
	f.dropCPUNumbers()
	if f.byQEMU || f.qemuNotes {
		f.Variant = append(f.Variant, "captured by QEMU")
	}
	f.takeFromInfo()
}

// takeFromInfo takes from VMCOREINFO what it knows best, and compares it with
// the header.
func (f *Facts) takeFromInfo() {
	v := f.VMCoreInfo
	if v == nil {
		return
	}
	if sec, ok := v.Get("CRASHTIME"); ok {
		if n, err := strconv.ParseInt(sec, 10, 64); err == nil && n > 0 {
			f.Time = time.Unix(n, 0).UTC()
		}
	}
	if release, ok := v.Get("OSRELEASE"); ok {
		if f.Uts.Release == "" {
			f.Uts.Release = release
		} else if f.Uts.Release != release {
			f.warn("the header says kernel release %q, VMCOREINFO %q", f.Uts.Release, release)
		}
	}
	if base, ok := v.Number("phys_base"); ok && f.PhysBaseValid && base != f.PhysBase {
		f.warn("the header says phys_base %#x, VMCOREINFO %#x; VMCOREINFO is right more often", f.PhysBase, base)
	}
}

// settlePageSize: a kdump header has the page size, an ELF dump can tell it in
// VMCOREINFO only.
func (f *Facts) settlePageSize() {
	v, ok := f.VMCoreInfo.Get("PAGESIZE")
	n, err := strconv.ParseUint(v, 10, 64)
	told := ok && err == nil && validBlockSize(n)
	switch {
	case f.PageSize == 0 && told:
		f.PageSize = n
	case f.PageSize == 0 && (f.Arch == ArchPPC64):
		f.PageSize = 65536
	case f.PageSize == 0:
		f.PageSize = 4096
	case told && f.Arch == ArchARM64 && n < f.PageSize && f.byQEMU:
		// QEMU writes units of 64 KiB, the largest pages that a guest can have.
	case told && n != f.PageSize:
		f.warn("the header says that a page has %d bytes, VMCOREINFO %d", f.PageSize, n)
	}
}

// Utsname is what uname(2) said on the dumped machine (Linux
// include/uapi/linux/utsname.h, struct new_utsname). The strings are as the dump
// has them, unchecked: cstr.Escape makes them fit to be shown.
type Utsname struct {
	Sysname    string
	Nodename   string
	Release    string
	Version    string
	Machine    string
	Domainname string
}

// Release is the kernel release of the dumped machine, from VMCOREINFO or else
// from the header; empty where neither has it.
func (f *Facts) Release() string {
	if s, ok := f.VMCoreInfo.Get("OSRELEASE"); ok {
		return s
	}
	return f.Uts.Release
}

// levelKinds are the kinds of pages that the bits of a dump level leave out
// (makedumpfile(8), -d).
var levelKinds = []string{"pages of zeros", "page cache", "page cache with private data", "user pages", "free pages"}

// ExcludedKinds names the kinds of pages that were left out of the dump, as its
// dump level says; nil where the format does not tell or nothing was left out.
func (f *Facts) ExcludedKinds() []string {
	var kinds []string
	for bit, kind := range levelKinds {
		if f.DumpLevel > 0 && f.DumpLevel>>bit&1 != 0 {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}
