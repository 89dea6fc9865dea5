package vfs

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// Stat is what /proc/sys/fs/dentry-state is made of: the kernel's own counters of
// dentries (fs/dcache.c).
type Stat struct {
	Dentries int64 // all
	Unused   int64 // on the lists that the shrinker takes from
	Negative int64 // of these, names that do not exist
	// HasNegative: the kernel counts them, as it does since 5.0 and in later
	// kernels of RHEL 7 and 8.
	HasNegative bool
}

// statLayout is struct dentry_stat_t, whose members were int until 3.11.
type statLayout struct {
	kernel.Layout `kernel:"struct dentry_stat_t"`
	Dentries      kernel.Uint `kernel:"nr_dentry"`
	Unused        kernel.Uint `kernel:"nr_unused"`
}

// Stat reads the counters. Those that are kept by processor are added up; their sum
// is right although one processor's may be less than 0. The error is that of
// counters that cannot be read; the others come with it.
func (fs *FS) Stat() (Stat, error) {
	var s Stat
	var l statLayout
	var global [2]int64
	addr, globalErr := fs.k.Symbol("dentry_stat")
	if globalErr == nil {
		globalErr = fs.k.Resolve(&l)
	}
	if globalErr == nil {
		var b []byte
		if b, globalErr = fs.k.Peek(addr, make([]byte, l.Span())); globalErr == nil {
			global = [2]int64{int64(l.Dentries.Get(b)), int64(l.Unused.Get(b))}
		}
	}
	var failed error
	// By processor are nr_dentry since 2.6.38, nr_dentry_unused since 3.12 and
	// nr_dentry_negative since 5.0. dentry_stat is stale where they are.
	for i, c := range []struct {
		name string
		to   *int64
	}{{"nr_dentry", &s.Dentries}, {"nr_dentry_unused", &s.Unused}, {"nr_dentry_negative", &s.Negative}} {
		sum, found, err := fs.perCPUSum(c.name)
		switch {
		case found:
			*c.to, s.HasNegative = sum, s.HasNegative || i == 2
		case i < len(global):
			*c.to, err = global[i], globalErr
		}
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return s, failed
}

// perCPUSum adds up a counter of which each processor has a part. It is long, and
// unsigned int until 3.11.
func (fs *FS) perCPUSum(name string) (sum int64, found bool, err error) {
	addr, err := fs.k.Symbol(name)
	if err != nil {
		return 0, false, nil
	}
	size := int64(8)
	if t, err := fs.k.Info().Variable(name); err == nil && t.Size() == 4 {
		size = 4
	}
	for _, area := range fs.k.CPUAreas() {
		at := addr + area.Offset
		var n int64
		if size == 8 {
			var v uint64
			v, err = fs.k.Uint64(at)
			n = int64(v)
		} else {
			var v uint32
			v, err = fs.k.Uint32(at)
			n = int64(int32(v))
		}
		if err != nil {
			return sum, true, err
		}
		sum += n
	}
	return sum, true, nil
}
