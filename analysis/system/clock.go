package system

import (
	"fmt"
	"time"

	"github.com/kmortem/mortem/kernel"
)

// timekeeper finds the struct timekeeper (include/linux/timekeeper_internal.h): in
// timekeeper_data since 6.17, in tk_core since 3.17, as a variable from 3.4 on. The
// type of tk_core has a name since 6.13 only; without DWARF its copy of 3.13 to 6.12
// serves, shadow_timekeeper, which is brought up to date first.
func timekeeper(k *kernel.Kernel) (*kernel.Object, error) {
	for _, name := range []string{"timekeeper_data", "tk_core"} {
		if data, err := variableOf(k, name, "struct tk_data"); err == nil {
			return data.Field("timekeeper"), nil
		}
	}
	if core := k.Object("tk_core").Field("timekeeper"); core.Err() == nil {
		return core, nil
	}
	if shadow, err := variableOf(k, "shadow_timekeeper", "struct timekeeper"); err == nil {
		return shadow, nil
	}
	return variableOf(k, "timekeeper", "struct timekeeper")
}

// variableOf is a variable of a type that is known: debug information other than
// DWARF does not tell the types of variables.
func variableOf(k *kernel.Kernel, name, typeName string) (*kernel.Object, error) {
	addr, err := k.Symbol(name)
	if err != nil {
		return nil, err
	}
	return k.ObjectAt(typeName, addr)
}

// clock reads the wall clock and the uptime as the kernel last kept them: they are
// up to a tick old, more where all processors idled.
func clock(k *kernel.Kernel) (date time.Time, uptime int64, err error) {
	tk, err := timekeeper(k)
	if err != nil {
		return oldClock(k)
	}
	wall, err := wallClock(tk)
	if err != nil {
		return date, 0, err
	}
	monotonic, err := timespec(tk.Field("wall_to_monotonic"))
	if err != nil {
		return date, 0, err
	}
	asleep, err := tk.Field("offs_boot").Int() // a union until 4.9
	if err != nil {
		if asleep, err = tk.Field("offs_boot.tv64").Int(); err != nil {
			asleep, err = timespec(tk.Field("total_sleep_time")) // until 3.9
		}
	}
	return time.Unix(0, wall).UTC(), wall + monotonic + asleep, err
}

// wallClock is the wall clock in ns since 1970. The parts of a second are shifted
// to the left; they lie in tkr_mono since 4.1, in tkr in 3.17 to 4.0. Until 3.5
// xtime is a struct timespec.
func wallClock(tk *kernel.Object) (int64, error) {
	if old := tk.Field("xtime"); old.Err() == nil {
		return timespec(old)
	}
	sec, err := tk.Field("xtime_sec").Int()
	if err != nil {
		return 0, err
	}
	base := tk
	for _, name := range []string{"tkr_mono", "tkr"} {
		if o := tk.Field(name); o.Err() == nil {
			base = o
			break
		}
	}
	shifted, err := base.Field("xtime_nsec").Uint()
	if err != nil {
		return 0, err
	}
	shift, err := base.Field("shift").Uint()
	if err != nil {
		return 0, err
	}
	if shift > 63 {
		return 0, fmt.Errorf("struct timekeeper at %#x: its shift %d cannot be", tk.Addr(), shift)
	}
	return sec*1e9 + int64(shifted>>shift), nil
}

// oldClock reads the variables that there were until 3.3.
func oldClock(k *kernel.Kernel) (date time.Time, uptime int64, err error) {
	var parts [3]int64
	for i, name := range []string{"xtime", "wall_to_monotonic", "total_sleep_time"} {
		o, err := variableOf(k, name, "struct timespec")
		if err == nil {
			parts[i], err = timespec(o)
		}
		if err != nil {
			return date, 0, err
		}
	}
	return time.Unix(0, parts[0]).UTC(), parts[0] + parts[1] + parts[2], nil
}

// timespec reads a struct timespec or timespec64, in ns.
func timespec(o *kernel.Object) (int64, error) {
	sec, err := o.Field("tv_sec").Int()
	if err != nil {
		return 0, err
	}
	ns, err := o.Field("tv_nsec").Int()
	return sec*1e9 + ns, err
}
