package dcache_test

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func ExampleAnalyze() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	report, err := dcache.Analyze(context.Background(), fs, dcache.Options{Top: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range report.Findings {
		fmt.Println(f.ID, f.Severity, f.Confidence)
	}
	// Output:
	// dcache.sysctl-chain warning certain
	// dcache.sysctl-chain warning certain
}
