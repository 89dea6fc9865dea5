package census

import (
	"strings"

	"github.com/kmortem/mortem/kernel"
)

// kernelCount reads one of the kernel's own counts: the sum of a per-CPU variable, and
// otherwise a member of a global structure.
func kernelCount(k *kernel.Kernel, perCPU, global string) (int64, bool) {
	if at, err := k.Symbol(perCPU); err == nil {
		size := int64(8) // since 3.12; an int before
		if t, err := k.Info().Variable(perCPU); err == nil {
			size = t.Size()
		}
		return sumCPUs(k, at, size)
	}
	name, member, _ := strings.Cut(global, ".")
	o := k.Object(name)
	if o.Err() != nil { // only DWARF has the types of variables
		at, err := k.Symbol(name)
		if err == nil {
			o, err = k.ObjectAt("struct "+name+"_t", at)
		}
		if err != nil {
			return 0, false
		}
	}
	n, err := o.Field(member).Int()
	return n, err == nil
}

// maxCPUs is the highest CONFIG_NR_CPUS that x86-64 allows.
const maxCPUs = 8192

func sumCPUs(k *kernel.Kernel, variable uint64, size int64) (sum int64, ok bool) {
	for cpu := range uint64(maxCPUs) {
		at, err := k.PerCPU(variable, cpu)
		if err != nil {
			continue // there is no such CPU
		}
		var n int64
		if size == 4 {
			var v uint32
			v, err = k.Uint32(at)
			n = int64(int32(v))
		} else {
			var v uint64
			v, err = k.Uint64(at)
			n = int64(v)
		}
		if err != nil {
			return 0, false
		}
		sum, ok = sum+n, true
	}
	return sum, ok
}

// dentryCounters compares what /proc/sys/fs/dentry-state would have said with what
// was counted. A dentry that is being freed is no longer in nr_dentry. nr_dentry_unused
// counts those that are on an LRU, whether they are in use again or not, or were taken
// off to be freed.
func dentryCounters(k *kernel.Kernel, r *DentryReport, t *tally) []Counter {
	if r.Source != SourceSlabs {
		return nil
	}
	shrinking := uint64(0)
	for _, s := range t.supers {
		shrinking += s.count[stateShrinking][0] + s.count[stateShrinking][1]
	}
	c := &r.Dentries
	var list []Counter
	add := func(perCPU, global, what string, counted uint64) {
		if n, ok := kernelCount(k, perCPU, global); ok {
			list = append(list, Counter{Name: perCPU, Kernel: n, Counted: int64(counted), What: what})
		}
	}
	add("nr_dentry", "dentry_stat.nr_dentry", "dentries that are not being killed", c.Total-c.Killed)
	add("nr_dentry_unused", "dentry_stat.nr_unused", "dentries on an LRU, or taken off it to be freed", c.OnLRU+c.LRUInUse+shrinking)
	add("nr_dentry_negative", "dentry_stat.nr_negative", "negative dentries on an LRU", c.NegLRU)
	return list
}
