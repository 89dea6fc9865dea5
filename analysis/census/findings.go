package census

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/analysis/finding"
)

// Ids of the findings.
const (
	idNSS      = "dentries.nss-negative"
	idNegative = "dentries.negative-flood"
	idUnused   = "dentries.unused"
	idHeld     = "dentries.deleted-held"
)

// The cache is worth a word from a hundredth of memory on, is a warning from a tenth
// and explains an outage from half of it.
const (
	worthShare    = 0.01
	warningShare  = 0.1
	criticalShare = 0.5
	mostly        = 0.5   // of all dentries
	worthCount    = 10000 // fewer are no flood, whatever their share
)

func share(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func severity(share float64) finding.Severity {
	switch {
	case share >= criticalShare:
		return finding.Critical
	case share >= warningShare:
		return finding.Warning
	}
	return finding.Info
}

// dentryFindings draws the conclusions from what the report holds.
func dentryFindings(r *DentryReport) []finding.Finding {
	list := []finding.Finding{}
	if r.Filter != "" {
		return list
	}
	if f := flood(r); f != nil {
		list = append(list, *f)
	}
	if f := deletedHeld(r.Held, "dentries"); f != nil {
		list = append(list, *f)
	}
	return list
}

// bytes of the caches, and their share of memory.
func (r *DentryReport) fills() (bytes uint64, part float64) {
	for _, c := range r.Caches {
		bytes += c.Bytes
	}
	if bytes == 0 {
		bytes = r.Dentries.Bytes
	}
	return bytes, share(bytes, r.Memory)
}

// flood says that the cache is full of what nobody uses, and of what it consists.
func flood(r *DentryReport) *finding.Finding {
	c := &r.Dentries
	bytes, part := r.fills()
	if c.OnLRU < worthCount || share(c.OnLRU, c.Total) < mostly || part < worthShare {
		return nil
	}
	f := &finding.Finding{ID: idUnused, Severity: severity(part), Confidence: finding.Certain}
	f.Statement = fmt.Sprintf("dentries fill %s, %.0f %% of memory, and %s of them are unused", size(bytes), 100*part, percent(c.OnLRU, c.Total))
	f.Evidence = []finding.Evidence{{
		Fact: fmt.Sprintf("%d dentries, %d of them unused on the LRU lists, %d negative (names that do not exist), %d in use",
			c.Total, c.OnLRU, c.Negative, c.InUse),
		Command: "dentries",
	}}
	if share(c.Negative, c.Total) >= mostly {
		f.ID = idNegative
		f.Statement += fmt.Sprintf("; %s are negative: lookups of names that do not exist", percent(c.Negative, c.Total))
	}
	if len(r.Directories) > 0 {
		d := &r.Directories[0]
		f.Evidence = append(f.Evidence, finding.Evidence{
			Fact:    fmt.Sprintf("the directory with the most, %s, has %d of them (%d negative)%s", d.Path, d.Dentries, d.Negative, errorBound(r.DirectoryError)),
			Command: fmt.Sprintf("dentries --dir %s", quote(d.Path)),
		})
	}
	if len(r.Patterns) > 0 {
		f.Evidence = append(f.Evidence, patternEvidence(&r.Patterns[0], r.PatternError))
	}
	f.Advice = floodAdvice(r, f)
	return f
}

func patternEvidence(p *Pattern, bound uint64) finding.Evidence {
	e := finding.Evidence{
		Fact:    fmt.Sprintf("the most frequent pattern of names, %s, has %d of them (%d negative)%s", p.Pattern, p.Dentries, p.Negative, errorBound(bound)),
		Command: fmt.Sprintf("dentries --pattern %s", quote(p.Pattern)),
	}
	if len(p.Samples) > 0 {
		e.Fact += ", such as " + p.Samples[0].Name
	}
	if p.Directory != "" {
		e.Fact += "; most are in " + p.Directory
	}
	return e
}

func errorBound(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", too small by %d at most", n)
}

// floodAdvice says what to do, and recognises what is known to cause it.
func floodAdvice(r *DentryReport, f *finding.Finding) []string {
	if nss(r) {
		f.ID = idNSS
		f.Statement += "; the cause is known: NSS looks for missing files to measure how fast the directory is (sdb_measureAccess)"
		return []string{
			"set NSS_SDB_USE_CACHE=yes in the environment of the programs that use libcurl or NSS with https",
			"or upgrade to nss-softokn 3.16.1 or later, which asks for fewer names",
			"raising vfs_cache_pressure does not help: it makes the shrinker scan more of the same list under its lock, and the names come back as fast",
			"echo 2 > /proc/sys/vm/drop_caches frees them at once, at a quiet time: on a kernel with a global dcache_lock all lookups wait meanwhile",
		}
	}
	if f.ID == idNegative {
		return []string{
			"find the program that looks for names that do not exist: trace its failing open(2), stat(2) and access(2) calls in the directory above",
			"memory pressure frees them, but on a large list that holds locks for long; limit the program's memory cgroup, or the kernel's own share of negative dentries where it has such a limit (fs.negative-dentry-limit of RHEL)",
		}
	}
	return []string{
		"find what walks or creates and deletes so many files: each leaves an unused dentry, which stays until there is memory pressure",
		"they are reclaimable: they cost no memory that is needed, but the shrinker's time when it is",
	}
}

// nss tells whether the names are those by which NSS measures.
func nss(r *DentryReport) bool {
	for i := range r.Patterns {
		if p := &r.Patterns[i]; strings.Contains(p.Pattern, "_dOeSnotExist_.db") {
			return share(p.Dentries, r.Dentries.Total) >= mostly
		}
	}
	return false
}

// worthHeld is how much deleted files must hold to be worth a word, in bytes.
const worthHeld = 1 << 20

// deletedHeld says that deleted files are held open.
func deletedHeld(held []Held, command string) *finding.Finding {
	var files, unknown int
	var bytes uint64
	var largest *Held
	for i := range held {
		h := &held[i]
		if h.Links != 0 || h.Inode == 0 || h.Type != "regular file" {
			continue
		}
		files++
		bytes += uint64(max(h.Size, 0))
		if len(h.Holders) == 0 {
			unknown++
		}
		if largest == nil {
			largest = h // they are sorted by size
		}
	}
	if files == 0 || bytes < worthHeld {
		return nil
	}
	f := &finding.Finding{ID: idHeld, Severity: finding.Info, Confidence: finding.Certain,
		Statement: fmt.Sprintf("%d deleted files of %s are still held", files, size(bytes))}
	fact := fmt.Sprintf("the largest: %s, inode %d, %s", largest.Path, largest.Number, size(uint64(largest.Size)))
	for _, h := range largest.Holders {
		fact += fmt.Sprintf("; held by %s", h)
	}
	f.Evidence = []finding.Evidence{{Fact: fact, Command: command}}
	if unknown > 0 {
		f.Evidence = append(f.Evidence, finding.Evidence{Fact: fmt.Sprintf("of %d no holder was found among tasks and mounts", unknown)})
	}
	return f
}

// String says who it is in a few words.
func (h Holder) String() string {
	switch {
	case h.FD != nil:
		return fmt.Sprintf("PID %d %s (fd %d)", h.PID, h.Comm, *h.FD)
	case h.PID != 0:
		return fmt.Sprintf("PID %d %s (%s)", h.PID, h.Comm, h.How)
	}
	return fmt.Sprintf("%s at %s", h.How, h.At)
}

func size(bytes uint64) string {
	for _, unit := range []struct {
		shift uint
		name  string
	}{{40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if bytes>>unit.shift >= 1 {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(uint64(1)<<unit.shift), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}

func percent(a, b uint64) string {
	p := 100 * share(a, b)
	if a != b && p > 99 {
		return fmt.Sprintf("%.2f %%", min(p, 99.99))
	}
	return fmt.Sprintf("%.0f %%", p)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
