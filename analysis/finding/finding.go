// Package finding is the form in which every analysis states what it
// concludes: a claim, its evidence, how sure it is, and what to do.
package finding

import "fmt"

// Severity ranks findings.
type Severity string

// The severities, from the mildest.
const (
	Info     Severity = "info"     // worth knowing
	Warning  Severity = "warning"  // costs time or memory
	Critical Severity = "critical" // explains an outage
)

// Rank orders severities: the higher, the more severe. An unknown one is 0.
func (s Severity) Rank() int {
	switch s {
	case Info:
		return 1
	case Warning:
		return 2
	case Critical:
		return 3
	}
	return 0
}

// ParseSeverity reads the name of a severity. It fails for what is none, and
// says which there are.
func ParseSeverity(s string) (Severity, error) {
	if v := Severity(s); v.Rank() > 0 {
		return v, nil
	}
	return "", fmt.Errorf("%q is no severity; there are info, warning and critical", s)
}

// Confidence says whether a finding is read off the dump or inferred.
type Confidence string

// The confidences.
const (
	Certain   Confidence = "certain"   // every part is read from the dump
	Suspected Confidence = "suspected" // inferred, by the finding's Method
)

// Finding is one claim about the dumped kernel.
type Finding struct {
	ID         string     `json:"id"` // stable over releases of mortem: "dcache.sysctl-chain"
	Severity   Severity   `json:"severity"`
	Statement  string     `json:"statement"` // one sentence
	Confidence Confidence `json:"confidence"`
	Method     string     `json:"method,omitempty"` // of a suspected one: how it was inferred
	Evidence   []Evidence `json:"evidence"`
	Advice     []string   `json:"advice,omitempty"` // what to do about it
}

// Evidence is one fact that a finding rests on.
type Evidence struct {
	Fact    string `json:"fact"`
	Command string `json:"command,omitempty"` // what prints it again, as arguments of mortem
}

// Worst is the highest severity among findings, "" where there are none.
func Worst(list []Finding) Severity {
	worst := Severity("")
	for _, f := range list {
		if f.Severity.Rank() > worst.Rank() {
			worst = f.Severity
		}
	}
	return worst
}
