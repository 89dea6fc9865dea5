package finding_test

import (
	"fmt"

	"github.com/kmortem/mortem/analysis/finding"
)

func ExampleParseSeverity() {
	limit, err := finding.ParseSeverity("warning")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(finding.Critical.Rank() >= limit.Rank(), finding.Info.Rank() >= limit.Rank())
	_, err = finding.ParseSeverity("fatal")
	fmt.Println(err)
	// Output:
	// true false
	// "fatal" is no severity; there are info, warning and critical
}
