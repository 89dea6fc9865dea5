package stacks_test

import (
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// All stacks of the fixture, folded, with functions named.
func BenchmarkUniqueStacksOfAllTasks(b *testing.B) {
	k := kerneltest.Kernel(b, fixtures.Path(b, kerneltest.Main))
	tasks, err := stacks.Open(k)
	if err != nil {
		b.Fatal(err)
	}
	var n uint64
	b.ResetTimer()
	for range b.N {
		r, err := tasks.Collect(b.Context(), stacks.Options{Unique: true})
		if err != nil {
			b.Fatal(err)
		}
		n += r.Selected
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "stacks/s")
}

// The same from the opened kernel on, unwind data read anew each time.
func BenchmarkOpenAndUnique(b *testing.B) {
	k := kerneltest.Kernel(b, fixtures.Path(b, kerneltest.Main))
	for range b.N {
		tasks, err := stacks.Open(k)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := tasks.Collect(b.Context(), stacks.Options{Unique: true}); err != nil {
			b.Fatal(err)
		}
	}
}
