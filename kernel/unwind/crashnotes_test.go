package unwind_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// TestCrashNotes: a dump without notes of the processors, of kernels that have
// saved the registers themselves. The second processor has saved none.
func TestCrashNotes(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.EL6(), synthetic.EL7(), synthetic.V5_10(), synthetic.V6_12(), synthetic.V7()} {
		t.Run(l.Name, func(t *testing.T) {
			k := synthetic.New(l, synthetic.Machine{CPUs: 2})
			spin := k.NewCode("_spin_lock", 32).Enter(0).Nop(5).Leave()
			dput := k.NewCode("dput", 64).Enter(0x20).Call("_spin_lock").Leave()
			spinner := k.Task("kswapd0", 101, k.InitNet())
			spinner.RunOn(0, nil, synthetic.Frame{In: spin, Offset: 8}, synthetic.Frame{In: dput, Calls: "_spin_lock", Locals: 0x20})
			k.CrashNotes()
			kern := withoutNotes(t, k)
			tracer, err := unwind.New(kern, nil)
			if err != nil {
				t.Fatal(err)
			}
			tasks, err := task.New(kern)
			if err != nil {
				t.Fatal(err)
			}
			cpus, err := tracer.CPUs(tasks)
			if err != nil || len(cpus) != 2 {
				t.Fatalf("%d processors, %v", len(cpus), err)
			}
			if cpus[0].Source != "crash_notes" || cpus[1].Source != "" {
				t.Errorf("registers from %q and %q", cpus[0].Source, cpus[1].Source)
			}
			trace := tracer.CPU(&cpus[0], unwind.Options{})
			var names []string
			for i := range trace.Frames {
				sym, _, _ := kern.SymbolAt(trace.Frames[i].PC)
				names = append(names, sym.Name)
			}
			if !slices.Equal(names, []string{"_spin_lock", "dput"}) || trace.End != unwind.EndThread {
				t.Errorf("%q, %s, %v", names, trace.End, trace.Err)
			}
		})
	}
}

// withoutNotes opens a kernel's dump that has no notes but VMCOREINFO.
func withoutNotes(t *testing.T, k *synthetic.Kernel) *kernel.Kernel {
	t.Helper()
	d := k.Dump()
	cfg := d.Config()
	cfg.Notes = nil
	var b dumpwriter.Buffer
	if err := dumpwriter.ELF(&b, d.Memory(), cfg); err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(b.Bytes())
	image, err := dump.OpenSources([]dump.Source{{Name: "synthetic", Size: r.Size(), ReaderAt: r}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(image.Facts().CPUs); n != 0 {
		t.Fatalf("the dump has notes of %d processors", n)
	}
	info, err := k.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	kern, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return kern
}
