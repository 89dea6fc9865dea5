package hash

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/analysis/finding"
)

const idLong = "hash.long-chain"

// A chain is worth a word from four times the length that a random hash would
// reach and 16 entries on, is a warning from a hundred entries on, and explains
// an outage at a hundred thousand, as in package dcache.
const (
	suspiciousFactor = 4
	suspiciousLength = 16
	warningLength    = 100
	criticalLength   = 100_000
)

func findings(r *Report) []finding.Finding {
	list := []finding.Finding{}
	for i := range r.Tables {
		if t := &r.Tables[i]; t.Longest >= suspiciousLength && t.Longest >= suspiciousFactor*max(t.ExpectedLongest, 1) {
			list = append(list, longChain(t))
		}
	}
	return list
}

func longChain(t *Table) finding.Finding {
	f := finding.Finding{ID: idLong, Severity: finding.Info, Confidence: finding.Certain,
		Statement: fmt.Sprintf("a chain of the hash table %s holds %d of its %d entries, where a random hash of so many in %d buckets gives at most %d",
			t.Name, t.Longest, t.Entries, t.Buckets, t.ExpectedLongest)}
	switch {
	case t.Longest >= criticalLength:
		f.Severity = finding.Critical
	case t.Longest >= warningLength:
		f.Severity = finding.Warning
	}
	c := &t.Chains[0]
	f.Evidence = []finding.Evidence{
		{Fact: fmt.Sprintf("bucket %d at %s is %d long; %d chains are longer than %d", c.Bucket, c.Addr, c.Length, t.Long, t.ExpectedLongest),
			Command: "hash " + quoted(t)},
		{Fact: fmt.Sprintf("a lookup that finds its entry passes %.1f entries on the average, against %.1f under a random hash", t.Steps, t.ExpectedSteps)},
	}
	if t.Name == "dentry" {
		f.Advice = []string{"run 'mortem dcache' to see what the long chains hold, and whose it is"}
	} else if t.Entry != "" && len(c.Entries) > 0 {
		typ, _, _ := strings.Cut(t.Entry, ".")
		f.Advice = []string{fmt.Sprintf("look at the entries: mortem eval DUMP '*(%s *)%s'", typ, c.Entries[0])}
	}
	return f
}

// quoted is the table's name as an argument of the command.
func quoted(t *Table) string {
	if strings.ContainsAny(t.Name, " ()*&>[") {
		return "'" + t.Expr + "'"
	}
	return t.Name
}
