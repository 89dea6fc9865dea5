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

// TestFramesAreNotAllocated: what a trace allocates does not grow with its frames.
func TestFramesAreNotAllocated(t *testing.T) {
	_, tr, tasks := open(t)
	var short, long *task.Task
	least, most := 1000, 0
	var opt unwind.Options
	for _, tk := range sleepers(t, tasks) {
		trace := tr.Sleeping(tk, opt)
		opt.Frames = trace.Frames
		if n := len(trace.Frames); trace.Complete() && n > most {
			long, most = tk, n
		} else if trace.Complete() && n < least {
			short, least = tk, n
		}
	}
	allocs := func(tk *task.Task) float64 {
		return testing.AllocsPerRun(50, func() { opt.Frames = tr.Sleeping(tk, opt).Frames })
	}
	if few, many := allocs(short), allocs(long); many-few > float64(most-least)/2 {
		t.Errorf("%v allocations for %d frames, %v for %d", few, least, many, most)
	}
}
