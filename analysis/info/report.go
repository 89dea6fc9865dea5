// Package info answers what a dump is, what machine and kernel it shows and how
// that ended, without debug information.
package info

import (
	"time"

	"github.com/kmortem/mortem/kernel"
)

// Report is the answer.
type Report struct {
	Files     []string `json:"files"`
	Format    string   `json:"format"`
	Variant   []string `json:"variant"` // what is special about it
	Complete  bool     `json:"complete"`
	Arch      string   `json:"arch"` // as uname -m names it
	ByteOrder string   `json:"byte_order"`
	Bits      int      `json:"bits"` // of a machine word
	PageSize  uint64   `json:"page_size"`

	Kernel Kernel `json:"kernel"`
	Crash  Crash  `json:"crash"`
	Log    *Log   `json:"log"` // null where it cannot be found
	// LogError says why there is no log.
	LogError string `json:"log_error,omitempty"`

	CPUs   []CPU  `json:"cpus"`
	Memory Memory `json:"memory"`
	Pages  *Pages `json:"pages"` // null where they were not counted

	VMCoreInfo *VMCoreInfo     `json:"vmcoreinfo"`      // null where there is none
	Moved      *Moved          `json:"moved,omitempty"` // for a remote dump
	Warnings   []string        `json:"warnings"`        // what is wrong with the files though they can be read
	Coverage   kernel.Coverage `json:"coverage"`
}

// Kernel is who ran the machine.
type Kernel struct {
	Sysname    string `json:"sysname,omitempty"`
	Release    string `json:"release"`
	Version    string `json:"version"`
	Machine    string `json:"machine"`
	Hostname   string `json:"hostname"`
	Domainname string `json:"domainname,omitempty"`
	BuildID    string `json:"build_id"` // hexadecimal, in VMCOREINFO since 5.9
	// From is where version and host name come from: "header", "memory"
	// (init_uts_ns), or empty where nothing has them.
	From string `json:"from"`
	// CommandLine is the kernel's, from the log, where it is still there.
	CommandLine string `json:"command_line,omitempty"`
}

// Crash is how it ended.
type Crash struct {
	Time     *time.Time `json:"time"`           // null where it is not known
	TimeFrom string     `json:"time_from"`      // "CRASHTIME", or "header": when the dump was begun
	Panic    *Line      `json:"panic"`          // the line of the log that says why; null where none does
	Cause    *Line      `json:"cause"`          // the trouble right before a panic
	Uptime   *int64     `json:"uptime_ns"`      // of the last record of the log: the machine ran at least so long
	Boot     *Boot      `json:"boot,omitempty"` // when it was started
}

// Line is a line of the log.
type Line struct {
	Rule  string `json:"rule"`  // by which it was chosen: "panic", "sysrq crash", "oops", "soft lockup", …
	Fatal bool   `json:"fatal"` // whether the kernel ends with it
	Seq   uint64 `json:"seq"`
	Time  *int64 `json:"time_ns"` // since boot
	Text  string `json:"text"`
}

// Boot is the inferred time at which the machine was started, by the clock of
// its log.
type Boot struct {
	Time   time.Time `json:"time"`
	Early  int64     `json:"early_ns"` // it may have been so much earlier
	Late   int64     `json:"late_ns"`  // or later
	Method string    `json:"method"`
	Why    string    `json:"why"`
}

// Log is how the kernel kept its log, and what is left of it.
type Log struct {
	Form     string `json:"form"`
	Bytes    uint64 `json:"bytes"`    // room for text
	Numbered bool   `json:"numbered"` // whether seq is the kernel's own number
	Wrapped  bool   `json:"wrapped"`  // whether older records are known to be overwritten
	Records  uint64 `json:"records"`  // that can be read
	Gaps     uint64 `json:"gaps"`     // places where some cannot
}

// CPU is one processor with its registers.
type CPU struct {
	Index  int    `json:"index"`  // position among the notes
	Source string `json:"source"` // the note
	PID    int    `json:"pid,omitempty"`
	// Mode is "kernel" or "user", empty where it cannot be told.
	Mode      string     `json:"mode"`
	Registers []Register `json:"registers"`
}

// Register is one register.
type Register struct {
	Name  string      `json:"name"`
	Value kernel.Addr `json:"value"`
}

// Memory is what the dump says about physical memory.
type Memory struct {
	MaxPhys kernel.Addr `json:"max_phys"` // one past the highest address that it describes
	Present uint64      `json:"present"`  // bytes in the dump
	Ranges  uint64      `json:"ranges"`   // that these lie in
	// DumpLevel is makedumpfile's -d, null where the format does not tell,
	// and Filtered what that leaves out.
	DumpLevel *int     `json:"dump_level"`
	Filtered  []string `json:"filtered"`
}

// Pages counts pages of Report.PageSize.
type Pages struct {
	Present  uint64 `json:"present"`
	Excluded uint64 `json:"excluded"` // filtered out when the dump was written
	Missing  uint64 `json:"missing"`  // should be in the files, and are not
	Damaged  uint64 `json:"damaged"`
	Zero     uint64 `json:"zero"` // of those present, the ones that share a page of zeros in the file
	// Codecs counts the present pages by how they are packed; null where the
	// format does not pack.
	Codecs map[string]uint64 `json:"codecs"`
	Packed uint64            `json:"packed"` // bytes that the present pages take in the files
	// Verified: every page was read. Otherwise Missing and Damaged are what
	// headers and page descriptors show.
	Verified bool `json:"verified"`
	// Bad are the first pages that cannot be read, and MoreBad how many
	// there are beyond these.
	Bad     []BadPage `json:"bad"`
	MoreBad uint64    `json:"more_bad,omitempty"`
}

// BadPage is a page that cannot be read.
type BadPage struct {
	Addr   kernel.Addr `json:"addr"` // physical
	Kind   string      `json:"kind"` // "missing" or "damaged"
	File   string      `json:"file"`
	Offset int64       `json:"offset"` // in File, -1 where there is none
	Why    string      `json:"why"`
}

// Moved is what it cost to read of a remote dump what the report says.
type Moved struct {
	Bytes    int64 `json:"bytes"` // over the network
	Requests int64 `json:"requests"`
}

// VMCoreInfo is the kernel's note about itself.
type VMCoreInfo struct {
	Keys int    `json:"keys"`
	Text string `json:"text"`
}
