package finding_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/analysis/finding"
)

func TestSeverities(t *testing.T) {
	order := []finding.Severity{"", finding.Info, finding.Warning, finding.Critical}
	for i := 1; i < len(order); i++ {
		if order[i].Rank() <= order[i-1].Rank() {
			t.Errorf("%q does not outrank %q", order[i], order[i-1])
		}
		if s, err := finding.ParseSeverity(string(order[i])); s != order[i] || err != nil {
			t.Errorf("%q is read as %q, %v", order[i], s, err)
		}
	}
	for _, wrong := range []string{"", "Info", "fatal"} {
		if _, err := finding.ParseSeverity(wrong); err == nil {
			t.Errorf("%q is taken for a severity", wrong)
		}
	}
}

func ExampleWorst() {
	list := []finding.Finding{{Severity: finding.Info}, {Severity: finding.Critical}, {Severity: finding.Warning}}
	fmt.Println(finding.Worst(list))
	// Output: critical
}
