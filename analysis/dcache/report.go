// Package dcache answers which chains of dentry_hashtable are too long, what is
// in them, and whose it is. A long chain makes every lookup of one of its names
// slow, and every one that is not there slower still.
package dcache

import (
	"fmt"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel"
)

// Report is the answer. Counts are of hashed dentries, and lower bounds where
// Coverage is not complete.
type Report struct {
	Table     Table             `json:"table"`
	Dentries  Counts            `json:"dentries"`
	Histogram []Bin             `json:"histogram"`
	Long      uint64            `json:"long_chains"` // chains longer than Table.ExpectedLongest
	Chains    []Chain           `json:"chains"`      // the longest ones, the longest first
	Churn     *Churn            `json:"netns_churn,omitempty"`
	Findings  []finding.Finding `json:"findings"`
	Coverage  kernel.Coverage   `json:"coverage"`
}

// Table describes dentry_hashtable.
type Table struct {
	Addr    kernel.Addr `json:"addr"`
	Buckets uint64      `json:"buckets"`
	Used    uint64      `json:"used_buckets"`
	Index   string      `json:"index"` // how a name's hash leads to its bucket
	Longest int         `json:"longest"`
	// ExpectedLongest is the length that under a random hash of that many
	// dentries no chain exceeds, with a probability of 99 %.
	ExpectedLongest int `json:"expected_longest"`
}

// Counts are numbers of dentries by state.
type Counts struct {
	Total    uint64 `json:"total"`
	Negative uint64 `json:"negative"` // names that do not exist
	Unused   uint64 `json:"unused"`   // without references
	OnLRU    uint64 `json:"on_lru"`   // on the list that the shrinker takes from
}

// Bin is one line of the histogram of chain lengths.
type Bin struct {
	From     int     `json:"from"` // length, inclusive
	To       int     `json:"to"`   // length, inclusive
	Buckets  uint64  `json:"buckets"`
	Dentries uint64  `json:"dentries"`
	Expected float64 `json:"expected_buckets"` // under a random hash
}

// Chain is one bucket and the dentries in it.
type Chain struct {
	Bucket   uint64      `json:"bucket"`
	Addr     kernel.Addr `json:"addr"` // of the bucket
	Length   int         `json:"length"`
	Dentries Counts      `json:"dentries"`
	Groups   []Group     `json:"groups"` // by parent and name, the largest first
	// MoreGroups counts the dentries of names beyond the first 256 of a chain.
	MoreGroups uint64 `json:"more_groups,omitempty"`
	// Broken says where and why the chain could not be followed to its end;
	// its length is a lower bound then.
	Broken string `json:"broken,omitempty"`
}

// Group are the dentries of a chain with the same parent and name.
type Group struct {
	Name       string      `json:"name"`
	Path       string      `json:"path"` // of the parent, as seen in the first mount namespace
	Parent     kernel.Addr `json:"parent"`
	Children   *Children   `json:"parent_children,omitempty"` // where the group is long
	SuperBlock kernel.Addr `json:"super_block"`
	SuperID    string      `json:"s_id"`
	FileSystem string      `json:"fs_type"`
	Dentries   Counts      `json:"dentries"`
	Owners     *Owners     `json:"owners,omitempty"` // of entries of /proc/sys
	Pins       *Pins       `json:"pins,omitempty"`   // what keeps directories from being freed
	Entries    []Entry     `json:"entries,omitempty"`
}

// Children counts the dentries that have the same parent, whatever their names.
type Children struct {
	Total    uint64 `json:"total"`
	Negative uint64 `json:"negative"`
	AtLeast  bool   `json:"at_least,omitempty"` // their list could not be followed to its end
}

// Owners says to whom the entries of one name in /proc/sys belong.
type Owners struct {
	Sets         int  `json:"ctl_table_sets"`                     // distinct ctl_table_sets among the entries not dead
	SetsAtLeast  bool `json:"ctl_table_sets_at_least,omitempty"`  // there are more than could be told apart
	Init         int  `json:"init_net"`                           // entries of init_net
	WithTasks    int  `json:"living_with_tasks"`                  // of other living network namespaces with tasks
	WithoutTasks int  `json:"living_without_tasks"`               // of living network namespaces without a task
	Dying        int  `json:"dying"`                              // of network namespaces without references that are being taken down
	Dead         int  `json:"dead"`                               // of owners that are gone: ctl_table_header.unregistering is set
	Stale        int  `json:"stale,omitempty"`                    // whose namespace is neither listed nor being taken down
	Other        int  `json:"other,omitempty"`                    // of owners that are no network namespaces
	Unreadable   int  `json:"unreadable,omitempty"`               // whose owner could not be read
	InitDepth    *int `json:"init_net_depth"`                     // dentries of the chain that a lookup from init_net compares before init_net's own entry
	TasksListed  bool `json:"tasks_known"`                        // the task list was read, so that the split by tasks is right
	NetsListed   bool `json:"network_namespaces_known"`           // net_namespace_list was read
	InitCompares *int `json:"init_net_lookup_compares,omitempty"` // InitDepth + 1
}

// Pins says what holds directories in the cache: a directory stays as long as
// something below it does.
type Pins struct {
	Sampled     int    `json:"sampled"`     // entries that were looked into
	Directories int    `json:"directories"` // of these, the ones with something below
	Cut         int    `json:"cut"`         // of these, the ones with more below than was looked at: what leaves count is a lower bound then
	Leaves      []Leaf `json:"leaves"`      // the ends of the trees below, the most frequent first
}

// Times says how often a leaf was seen.
func (p *Pins) Times(l *Leaf) string {
	switch {
	case p.Cut > 0:
		return fmt.Sprintf("at least %d times", l.Count)
	case l.Count == 1:
		return "once"
	}
	return fmt.Sprintf("%d times", l.Count)
}

// Leaf is the end of a tree below a directory.
type Leaf struct {
	Path        string `json:"path"`        // below the entry
	Count       int    `json:"count"`       // times that there is one, more than once below an entry too
	Reclaimable int    `json:"reclaimable"` // on the LRU without references
	Held        int    `json:"held"`        // with references
}

// Entry is one dentry of a chain.
type Entry struct {
	Index   int         `json:"index"` // dentries of the chain before it
	Addr    kernel.Addr `json:"addr"`
	Inode   kernel.Addr `json:"inode"` // 0 for a negative dentry
	Count   int32       `json:"count"` // references
	OnLRU   bool        `json:"on_lru"`
	Owner   string      `json:"owner,omitempty"` // of an entry of /proc/sys; see OwnerState
	Set     kernel.Addr `json:"ctl_table_set,omitempty"`
	Net     kernel.Addr `json:"net,omitempty"` // the struct net
	NetInum uint32      `json:"net_inum,omitempty"`
	Tasks   int         `json:"tasks,omitempty"` // threads in that network namespace
	// Members are the first few of these threads, in the order of the task list.
	Members []Member `json:"task_sample,omitempty"`
}

// Member is a thread in a network namespace.
type Member struct {
	PID  int32  `json:"pid"` // thread id in the first pid namespace
	Comm string `json:"comm"`
}

// OwnerState says what is known of the owner of an entry of /proc/sys.
type OwnerState string

// The states of owners.
const (
	OwnerInit       OwnerState = "init_net"
	OwnerLiving     OwnerState = "living"
	OwnerIdle       OwnerState = "living, no task"
	OwnerDying      OwnerState = "dying"
	OwnerDead       OwnerState = "dead"
	OwnerStale      OwnerState = "stale"
	OwnerOther      OwnerState = "not a network namespace"
	OwnerUnreadable OwnerState = "unreadable"
)
