// Package mem answers where the memory went: what /proc/meminfo said, nodes and zones
// with their watermarks and free blocks, vmalloc areas by who took them, huge pages,
// swap, memory cgroups, and how much of it no counter explains.
package mem

import (
	"github.com/kmortem/mortem/kernel"
)

// Report is the answer. Sizes are in bytes.
type Report struct {
	Info Meminfo `json:"meminfo"`
	// Uses divides the memory that the kernel has among what counters say it is used
	// for; the last is what none of them explains.
	Uses     []Use           `json:"uses"`
	Nodes    []Node          `json:"nodes"`
	Vmalloc  []Caller        `json:"vmalloc"` // the largest first
	Huge     []HugePool      `json:"huge_pages,omitempty"`
	Swap     []SwapArea      `json:"swap,omitempty"`
	Cgroups  []Cgroup        `json:"memory_cgroups,omitempty"` // the largest first
	Coverage kernel.Coverage `json:"coverage"`
}

// Meminfo is what /proc/meminfo would say (fs/proc/meminfo.c), by the same names, in
// bytes and with what the processors had not yet added to the counters. A counter that
// the kernel does not have is left out.
type Meminfo struct {
	MemTotal          uint64  `json:"MemTotal"`
	MemFree           uint64  `json:"MemFree"`
	MemAvailable      *uint64 `json:"MemAvailable,omitempty"`
	Buffers           uint64  `json:"Buffers"`
	Cached            uint64  `json:"Cached"`
	SwapCached        uint64  `json:"SwapCached"`
	Active            *uint64 `json:"Active,omitempty"`
	Inactive          *uint64 `json:"Inactive,omitempty"`
	Unevictable       *uint64 `json:"Unevictable,omitempty"`
	Mlocked           *uint64 `json:"Mlocked,omitempty"`
	SwapTotal         uint64  `json:"SwapTotal"`
	SwapFree          uint64  `json:"SwapFree"`
	Dirty             *uint64 `json:"Dirty,omitempty"`
	Writeback         *uint64 `json:"Writeback,omitempty"`
	AnonPages         *uint64 `json:"AnonPages,omitempty"`
	Mapped            *uint64 `json:"Mapped,omitempty"`
	Shmem             *uint64 `json:"Shmem,omitempty"`
	KReclaimable      *uint64 `json:"KReclaimable,omitempty"` // since 4.20
	Slab              uint64  `json:"Slab"`
	SReclaimable      uint64  `json:"SReclaimable"`
	SUnreclaim        uint64  `json:"SUnreclaim"`
	KernelStack       *uint64 `json:"KernelStack,omitempty"`
	PageTables        *uint64 `json:"PageTables,omitempty"`
	SecPageTables     *uint64 `json:"SecPageTables,omitempty"`
	Bounce            *uint64 `json:"Bounce,omitempty"`
	CommitLimit       uint64  `json:"CommitLimit"`
	CommittedAS       uint64  `json:"Committed_AS"`
	VmallocUsed       uint64  `json:"VmallocUsed"` // pages of vmalloc areas; not shown by 4.4 to 5.2
	Percpu            *uint64 `json:"Percpu,omitempty"`
	HardwareCorrupted *uint64 `json:"HardwareCorrupted,omitempty"`
	AnonHugePages     *uint64 `json:"AnonHugePages,omitempty"`
	CmaFree           *uint64 `json:"CmaFree,omitempty"`
	Hugetlb           uint64  `json:"Hugetlb"` // all huge pages of all sizes
}

// Use is one part of memory.
type Use struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"` // negative where counters say more than there is
}

// Node is one NUMA node. Sizes are in bytes.
type Node struct {
	Node    int    `json:"node"`
	Present uint64 `json:"present"`
	Free    uint64 `json:"free"`
	Zones   []Zone `json:"zones"`
}

// Zone is one zone of a node. Sizes are in bytes, but for Blocks.
type Zone struct {
	Name    string      `json:"name"`
	Addr    kernel.Addr `json:"addr"` // of the struct zone
	Present uint64      `json:"present"`
	Managed uint64      `json:"managed"`
	Free    uint64      `json:"free"`
	// Min, Low and High are the watermarks, as a boost raises them.
	Min   uint64 `json:"min"`
	Low   uint64 `json:"low"`
	High  uint64 `json:"high"`
	Boost uint64 `json:"boost,omitempty"`
	// Below names the highest watermark that free memory is below: high, low or min.
	Below string `json:"below,omitempty"`
	// Blocks are the free blocks by order, of 1<<order pages.
	Blocks []uint64 `json:"free_blocks"`
	// Kept are free pages that processors keep for themselves; they are not among
	// Free.
	Kept uint64     `json:"per_cpu"`
	CPUs []CPUPages `json:"per_cpu_pages"`
}

// CPUPages is how many free pages of a zone a processor keeps.
type CPUPages struct {
	CPU   int `json:"cpu"`
	Pages int `json:"pages"`
	High  int `json:"high"` // at most so many
}

// Caller is a place in the kernel that takes memory by vmalloc.
type Caller struct {
	Caller string `json:"caller"`
	Areas  uint64 `json:"areas"`
	Bytes  uint64 `json:"bytes"`  // of address space
	Memory uint64 `json:"memory"` // bytes of pages behind it
}

// HugePool are the huge pages of one size.
type HugePool struct {
	PageSize   uint64 `json:"page_size"` // bytes
	Total      uint64 `json:"total"`     // pages
	Free       uint64 `json:"free"`
	Reserved   uint64 `json:"reserved"`
	Surplus    uint64 `json:"surplus"`
	Overcommit uint64 `json:"overcommit"`
}

// SwapArea is a swap file or partition. Sizes are in bytes.
type SwapArea struct {
	Addr     kernel.Addr `json:"addr"`           // of the struct swap_info_struct
	Path     string      `json:"path,omitempty"` // of its file
	Size     uint64      `json:"size"`
	Used     uint64      `json:"used"`
	Priority int         `json:"priority"`
}

// Cgroup is a memory cgroup. Usage counts the groups below it where the hierarchy does.
type Cgroup struct {
	Addr    kernel.Addr `json:"addr"` // of the struct mem_cgroup
	Path    string      `json:"path"`
	Usage   uint64      `json:"usage"`
	Max     uint64      `json:"max,omitempty"` // 0 is no limit
	Peak    uint64      `json:"peak,omitempty"`
	Failed  uint64      `json:"failcnt,omitempty"`         // how often the limit was hit
	Swap    *uint64     `json:"swap,omitempty"`            // version 2
	Memsw   *uint64     `json:"memory_and_swap,omitempty"` // version 1
	Kernel  *uint64     `json:"kmem,omitempty"`
	Offline bool        `json:"offline,omitempty"` // removed, and held by what it is charged for
}

// Options choose what is read.
type Options struct {
	Top int // no more than so many vmalloc callers and cgroups; all where 0 or negative
}
