package unwind_test

import (
	"testing"

	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// sleepers are the tasks of the dump that do not run and have a stack.
func sleepers(t testing.TB, tasks *task.Reader) []*task.Task {
	t.Helper()
	var list []*task.Task
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		if !tk.OnCPU && tk.Stack != 0 {
			list = append(list, tk)
		}
	}
	return list
}

func benchmarkTraces(b *testing.B, opt unwind.Options) {
	_, tr, tasks := open(b)
	list := sleepers(b, tasks)
	frames := 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		trace := tr.Sleeping(list[i%len(list)], opt)
		if !trace.Complete() {
			b.Fatal(trace.Err)
		}
		opt.Frames = trace.Frames
		frames += len(trace.Frames)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "traces/s")
	b.ReportMetric(float64(frames)/b.Elapsed().Seconds(), "frames/s")
}

// Sleeping tasks' stacks by ORC, from thread.sp to user mode or the start.
func BenchmarkTracesByORC(b *testing.B) { benchmarkTraces(b, unwind.Options{}) }

// The same with the registers that each function saved, by CFI.
func BenchmarkTracesWithRegisters(b *testing.B) { benchmarkTraces(b, unwind.Options{Registers: true}) }
