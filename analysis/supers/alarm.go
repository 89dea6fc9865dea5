package supers

import (
	"fmt"

	"github.com/kmortem/mortem/analysis/finding"
)

// Ids of the findings.
const (
	idUnused   = "supers.unused-dentries-over-limit"
	idDentries = "supers.dentries-over-limit"
	idNegative = "supers.negative-dentries-over-limit"
)

// Limits are numbers of dentries above which an alarm is raised; 0 means never.
type Limits struct {
	Unused   uint64 // on the s_dentry_lru of one super_block
	Dentries uint64 // in the whole system, by /proc/sys/fs/dentry-state
	// Negative are names that do not exist, among the unused ones of the whole
	// system: what a limit on negative dentries would take away.
	Negative uint64
}

// criticalFactor is by how many times a limit is exceeded where that explains an
// outage.
const criticalFactor = 10

func over(n, limit uint64) (finding.Severity, bool) {
	switch {
	case limit == 0 || n <= limit:
		return "", false
	case n/criticalFactor >= limit:
		return finding.Critical, true
	}
	return finding.Warning, true
}

// Alarms says where limits are exceeded.
func (r *Report) Alarms(limits Limits) []finding.Finding {
	list := []finding.Finding{}
	for i := range r.SuperBlocks {
		s := &r.SuperBlocks[i]
		if severity, ok := over(s.unused(), limits.Unused); ok {
			list = append(list, unusedAlarm(s, severity, limits.Unused))
		}
	}
	if severity, ok := over(r.State.Dentries, limits.Dentries); ok {
		list = append(list, r.stateAlarm(idDentries, severity, fmt.Sprintf("there are %d dentries, more than the limit of %d", r.State.Dentries, limits.Dentries)))
	}
	if n, known := r.negative(); known {
		if severity, ok := over(n, limits.Negative); ok {
			list = append(list, r.stateAlarm(idNegative, severity, fmt.Sprintf("%d dentries are of names that do not exist, more than the limit of %d", n, limits.Negative)))
		}
	}
	return list
}

// unused is what the kernel counts or the lists hold, whichever is more: either may
// be damaged.
func (s *SuperBlock) unused() uint64 { return max(uint64(max(s.UnusedCounter, 0)), s.UnusedWalked) }

// negative is how many names that do not exist there are: by the kernel's counter,
// and in kernels that do not count them those in dentry_hashtable.
func (r *Report) negative() (n uint64, known bool) {
	if r.State.Negative != nil {
		return *r.State.Negative, true
	}
	for i := range r.SuperBlocks {
		n += r.SuperBlocks[i].Negative
	}
	return n, true
}

func unusedAlarm(s *SuperBlock, severity finding.Severity, limit uint64) finding.Finding {
	return finding.Finding{
		ID:         idUnused,
		Severity:   severity,
		Statement:  fmt.Sprintf("the super_block with s_id %s (%s) keeps %d unused dentries, more than the limit of %d", s.ID, s.Type, s.unused(), limit),
		Confidence: finding.Certain,
		Evidence: []finding.Evidence{{
			Fact: fmt.Sprintf("s_dentry_lru of the super_block at %s: %d by the counter, %d walked; of %d hashed ones %d are negative",
				s.Addr, s.UnusedCounter, s.UnusedWalked, s.Hashed, s.Negative),
			Command: "supers",
		}},
		Advice: []string{"shrink the dentries of that one super_block rather than the whole cache with drop_caches: a remount of it does (mount -o remount)",
			"see which directories and names they are of, and who looks for them"},
	}
}

func (r *Report) stateAlarm(id string, severity finding.Severity, statement string) finding.Finding {
	negative := "the kernel does not count negative ones"
	if r.State.Negative != nil {
		negative = fmt.Sprintf("%d of these negative", *r.State.Negative)
	}
	return finding.Finding{
		ID: id, Severity: severity, Statement: statement, Confidence: finding.Certain,
		Evidence: []finding.Evidence{{
			Fact:    fmt.Sprintf("/proc/sys/fs/dentry-state: %d dentries, %d unused, %s", r.State.Dentries, r.State.Unused, negative),
			Command: "supers",
		}},
	}
}
