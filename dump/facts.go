package dump

import (
	"encoding/binary"
	"time"
)

// Format names a dump's file format.
type Format string

// The formats this package reads.
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
	Variant   []string         // what is special about it: "flattened", "split in 3 parts", "written by QEMU"
	Arch      Arch             // of the dumped machine
	ByteOrder binary.ByteOrder // of the dumped machine
	Is64      bool             // whether the machine's words are 64 bits wide
	PageSize  uint64           // in bytes; the unit of presence in the dump
	MaxPhys   uint64           // one past the highest physical address that the dump describes
	Uts       Utsname          // as the header has it; QEMU fills in the machine only
	Time      time.Time        // when the dump was taken (VMCOREINFO CRASHTIME or the header), zero if unknown
	DumpLevel int              // makedumpfile's -d, -1 where the format does not tell

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
}

// Utsname is what uname(2) said on the dumped machine.
type Utsname struct {
	Sysname    string
	Nodename   string
	Release    string
	Version    string
	Machine    string
	Domainname string
}
