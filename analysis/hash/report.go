// Package hash answers whether the chains of any hash table of the kernel are
// longer than chance would have them, and which of all tables is worst.
package hash

import (
	"github.com/kmortem/mortem/analysis/chains"
	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel"
)

// Report is the answer. Counts are lower bounds where Coverage is not complete.
type Report struct {
	Tables   []Table           `json:"tables"` // the worst first: the one whose longest chain exceeds what chance explains by the most entries
	Absent   []Absent          `json:"absent,omitempty"`
	Findings []finding.Finding `json:"findings"`
	Coverage kernel.Coverage   `json:"coverage"`
}

// Table is one hash table.
type Table struct {
	Name    string      `json:"name"`       // as the command line takes it, or an expression
	Expr    string      `json:"expression"` // the C expression that is the table
	What    string      `json:"what,omitempty"`
	Net     kernel.Addr `json:"net,omitempty"`      // the struct net that it belongs to
	NetInum uint32      `json:"net_inum,omitempty"` // its inode number
	Addr    kernel.Addr `json:"addr"`
	Kind    string      `json:"kind"`            // of the chains: the C type of the heads, or pointer
	Entry   string      `json:"entry,omitempty"` // what the entries are: type and the member that links them
	Buckets uint64      `json:"buckets"`
	Used    uint64      `json:"used_buckets"`
	Entries uint64      `json:"entries"`
	// Counter is the kernel's own count of the entries, where it has one.
	Counter *int64 `json:"counter,omitempty"`
	Longest int    `json:"longest"`
	// ExpectedLongest is the length that under a random hash of that many entries
	// no chain exceeds, with a probability of 99 %.
	ExpectedLongest int `json:"expected_longest"`
	// Excess is Longest by ExpectedLongest: above 1 the table is worse than chance.
	Excess float64 `json:"excess"`
	Long   uint64  `json:"long_chains"` // chains longer than ExpectedLongest
	// Steps is how many entries a lookup that finds its entry passes on the
	// average, that one included; ExpectedSteps is the same under a random hash.
	Steps         float64      `json:"steps"`
	ExpectedSteps float64      `json:"expected_steps"`
	Histogram     []chains.Bin `json:"histogram,omitempty"`
	Chains        []Chain      `json:"chains,omitempty"` // the longest ones, the longest first
	Broken        uint64       `json:"broken_chains,omitempty"`
}

// Chain is one bucket.
type Chain struct {
	Bucket uint64      `json:"bucket"`
	Addr   kernel.Addr `json:"addr"` // of its head
	Length int         `json:"length"`
	// Entries are the first of its entries: the addresses of the objects where
	// Table.Entry says what they are, and else of the links.
	Entries []kernel.Addr `json:"entries,omitempty"`
	// Broken says where and why the chain could not be followed to its end.
	Broken string `json:"broken,omitempty"`
}

// Absent is a table that is known and is not in this kernel.
type Absent struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}
