package printk

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// FuzzRecords reads logs out of memory of any contents, whatever VMCOREINFO
// says about it. A log must come to an end, and can hold no more text than the
// memory that it is in.
func FuzzRecords(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed.vars.String(), seed.data)
	}
	f.Fuzz(func(t *testing.T, vars string, mem []byte) {
		r := newRAM()
		r.data = mem
		r.vars.WriteString(vars)
		l, err := open(r.source())
		if err != nil {
			return
		}
		var parts, text uint64
		for rec, err := range l.Records() {
			parts++
			if err == nil {
				text += uint64(len(rec.Text))
				_ = rec.Show()
			}
		}
		// A line of the byte ring has a byte, a record four at least.
		if limit := uint64(len(mem)) + 1; parts > 2*limit || text > limit {
			t.Errorf("%d parts with %d bytes of text from %d bytes of memory", parts, text, len(mem))
		}
	})
}

// fuzzSeeds are small logs of all forms.
func fuzzSeeds() []*ram {
	compact := func() *ram {
		r := newRAM()
		r.align = 16
		return r
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	lines := newByteLogIn(compact(), 256)
	for i := range 12 {
		lines.print(fmt.Sprintf("<6>[%5d.000000] line %d\n", i, i))
	}
	seeds := []*ram{lines.ram}
	for _, form := range recordForms {
		l := newRecordLogIn(compact(), 512, form)
		var clock time.Duration
		for range 30 {
			l.store(randomRecord(rnd, &clock, 40), "SUBSYSTEM=pci")
		}
		seeds = append(seeds, l.ram)
	}
	for _, n := range []int{0, 3, 40} {
		l := newRingLogIn(compact(), 4, 9)
		var clock time.Duration
		for range n {
			l.store(randomRecord(rnd, &clock, 40), stateFinalized)
		}
		seeds = append(seeds, l.ram)
	}
	return seeds
}

// TestFuzzSeeds: the seeds are logs that can be read.
func TestFuzzSeeds(t *testing.T) {
	for i, s := range fuzzSeeds() {
		records, lost := collect(openTest(t, s.source()))
		if len(lost) > 0 {
			t.Errorf("seed %d: lost %v", i, lost)
		}
		if n := len(records); n == 0 && !strings.Contains(s.vars.String(), "SYMBOL(prb)") {
			t.Errorf("seed %d is empty", i)
		}
	}
}
