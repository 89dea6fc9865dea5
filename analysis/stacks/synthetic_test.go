package stacks_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestOldAndNewKernels walks the stacks of a task that sleeps and of one that
// spins on a processor, on the layouts of kernels from 2.6.32 on, none of which
// has ORC here.
func TestOldAndNewKernels(t *testing.T) {
	for _, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			k := synthetic.New(l, synthetic.Machine{})
			lock := k.Var("dcache_lock", "unsigned int")
			spin := k.NewCode("_spin_lock", 32).Enter(0).Nop(5).Leave()
			sched := k.NewCode("__schedule", 64).Enter(0x40).Call("__switch_to").Leave()
			k.NewCode("__switch_to", 16).Enter(0).Leave()
			dput := k.NewCode("dput", 64).Enter(0x20).Load(synthetic.RDI, lock.Addr).Call("_spin_lock").Call("__schedule").Leave()
			entry := k.NewCode("system_call", 64).Enter(0).Call("dput").Leave()
			sleeper, spinner := k.Task("perl", 100, k.InitNet()), k.Task("kswapd1", 101, k.InitNet())
			sleeper.Sleep(synthetic.Frame{In: sched, Calls: "__switch_to", Locals: 0x40}, synthetic.Frame{In: dput, Calls: "__schedule", Locals: 0x20},
				synthetic.Frame{In: entry, Calls: "dput"})
			spinner.RunOn(1, map[string]uint64{"di": lock.Addr}, synthetic.Frame{In: spin, Offset: 8}, synthetic.Frame{In: dput, Calls: "_spin_lock", Locals: 0x20},
				synthetic.Frame{In: entry, Calls: "dput"})
			kern := kerneltest.Synthetic(t, k)
			tasks, err := stacks.Open(kern)
			if err != nil {
				t.Fatal(err)
			}
			r, err := tasks.Collect(t.Context(), stacks.Options{Registers: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Stacks) < 2 {
				t.Errorf("%d stacks", len(r.Stacks))
			}
			for _, s := range r.Stacks {
				var names []string
				for _, f := range s.Frames {
					names = append(names, f.Function)
				}
				if s.PID >= 100 && s.End != "start of thread" {
					t.Errorf("%d %s: %s, %s, %v", s.PID, s.Comm, s.End, s.Error, s.Faults)
				}
				want := map[int32][]string{100: {"__schedule", "dput", "system_call"}, 101: {"_spin_lock", "dput", "system_call"}}[s.PID]
				if want != nil && !slices.Equal(names, want) {
					t.Errorf("%d %s: %q, %s, %s, %v", s.PID, s.Comm, names, s.End, s.Error, s.Faults)
				}
			}
		})
	}
}
