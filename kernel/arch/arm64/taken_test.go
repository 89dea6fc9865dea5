package arm64_test

import (
	"encoding/binary"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/arm64"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

// The functions that those of testdata/taken.s call, and the lock that they take.
const (
	lockFn  = 0x80100000
	tryFn   = 0x80100100
	freeFn  = 0x80100200
	theLock = 0x90000000
)

// assembled is a function of testdata/taken.s.
type assembled struct {
	start uint64
	code  []byte
	calls int // offset behind its call of other
}

func assembly(t testing.TB) map[string]*assembled {
	t.Helper()
	text, err := os.ReadFile("testdata/taken.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]*assembled{}
	var f *assembled
	for line := range strings.Lines(string(text)) {
		if name, found := strings.CutSuffix(strings.TrimSpace(line), ">:"); found {
			at, name, _ := strings.Cut(name, " <")
			f = &assembled{}
			f.start, err = strconv.ParseUint(at, 16, 64)
			list[name] = f
		} else {
			word, parse := strconv.ParseUint(strings.Fields(line)[1], 16, 32)
			f.code, err = binary.LittleEndian.AppendUint32(f.code, uint32(word)), parse
			if strings.Contains(line, "<other>") {
				f.calls = len(f.code)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func effects(target uint64) []taken.Effect {
	switch target {
	case lockFn:
		return []taken.Effect{{Take: true, Tag: 1}}
	case tryFn:
		return []taken.Effect{{Take: true, Tag: 1, Success: taken.IfNonzero}}
	case freeFn:
		return []taken.Effect{{Give: true, Tag: 1}}
	}
	return nil
}

// TestOutstanding follows the functions of testdata/taken.s to where they call other.
func TestOutstanding(t *testing.T) {
	held := map[uint64]bool{theLock: true}
	want := map[string]map[uint64]bool{ // address: on all ways
		"called": held, "given_back": {}, "another_given_back": held, "tried": held, "tried_in_vain": {}, "tried_bool": held,
		"interruptible": held, "one_way": {theLock: false}, "cas": held, "cas_in_vain": {}, "cas_of_another": held, "cas_or_slow": held,
		"cas_stored": {}, "exclusive": held, "exclusive_in_vain": {}, "exclusive_or_slow": held, "counted": {}, "bit_lse": held, "bit_in_vain": {},
		"bit_exclusive": held, "bit_cleared": {}, "another_bit_cleared": held, "bit_cleared_exclusive": {}, "bit_kept": held,
		"reader": held, "reader_left": {}, "percpu_reader": held, "percpu_reader_left": {}, "behind_a_warning": held,
		"bit_spin": held,
	}
	list := assembly(t)
	for name, want := range want {
		f := list[name]
		if f == nil || f.calls == 0 {
			t.Fatalf("%s is not there", name)
		}
		o, ok := taken.Find(arm64.Arch{}, f.code, f.start, f.calls, true, effects)
		if !ok {
			t.Errorf("%s: cannot be followed", name)
			continue
		}
		got := map[uint64]bool{}
		for i := range o.Taken {
			addr, _, known := o.Address(&o.Taken[i], &taken.FrameValues{})
			if !known {
				t.Errorf("%s: the address of %+v is not known", name, o.Taken[i])
			}
			got[addr] = o.Taken[i].Sure
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: found %v, want %v", name, got, want)
		}
	}
}

// TestOutstandingAddress: where the address came from elsewhere, it is found in what the
// function keeps, on its stack, or in the task.
func TestOutstandingAddress(t *testing.T) {
	const cfa, object, task = 0xffff800010003fd0, 0xffff000012340000, 0xffff000000abc000
	no := func(arch.Reg) (uint64, bool) { return 0, false }
	memory := map[uint64]uint64{cfa - 48 + 40: object, task + 0x10: object}
	load := func(addr uint64, size int) (uint64, bool) {
		v, ok := memory[addr]
		return v, ok && size == 8
	}
	for name, c := range map[string]struct {
		f      taken.FrameValues
		want   uint64
		likely bool
	}{
		"from_an_argument": {taken.FrameValues{Register: func(r arch.Reg) (uint64, bool) { return object, r == 19 }}, object + 0x18, false},
		"on_its_stack":     {taken.FrameValues{CFA: cfa, Register: no}, cfa - 48 + 32, false},
		"spilled":          {taken.FrameValues{CFA: cfa, Register: no, Load: load}, object + 0x18, false},
		"of_the_task": {taken.FrameValues{Register: no, Load: load, Own: func(name int64) (uint64, bool) { return task, name == taken.OwnTask }},
			object + 8, true},
	} {
		f := assembly(t)[name]
		o, ok := taken.Find(arm64.Arch{}, f.code, f.start, f.calls, true, effects)
		if !ok || len(o.Taken) != 1 {
			t.Fatalf("%s: %+v, %v", name, o, ok)
		}
		if addr, likely, ok := o.Address(&o.Taken[0], &c.f); !ok || likely != c.likely || addr != c.want {
			t.Errorf("%s: %#x, %v, %v", name, addr, likely, ok)
		}
	}
}

// TestSpinLoop finds the word that a loop waits for.
func TestSpinLoop(t *testing.T) {
	list := assembly(t)
	for name, want := range map[string]arch.SpinLoop{
		"bit_spin": {Base: 1, HasBase: true, Size: 8, Taken: true},
		"seq_spin": {Base: 4, HasBase: true, Size: 4},
	} {
		f := list[name]
		yields := 0
		for at := 0; at < len(f.code); at += 4 {
			inside := binary.LittleEndian.Uint32(f.code[at:]) == 0xd503203f
			if inside {
				yields = at
			}
		}
		got, ok := (arm64.Arch{}).SpinLoop(f.code, f.start, yields)
		if !ok || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, ok, want)
		}
		if got, ok := (arm64.Arch{}).SpinLoop(f.code, f.start, f.calls); ok {
			t.Errorf("%s: behind the loop it is in %+v", name, got)
		}
	}
	if got, ok := (arm64.Arch{}).SpinLoop(list["exclusive"].code, list["exclusive"].start, 28); ok {
		t.Errorf("a loop without a pause is %+v", got)
	}
}

// FuzzOutstanding: no code makes the walk fail otherwise than by saying so.
func FuzzOutstanding(f *testing.F) {
	for _, a := range assembly(f) {
		f.Add(a.code, uint16(a.calls), true)
		f.Add(a.code, uint16(a.calls), false)
	}
	f.Fuzz(func(t *testing.T, code []byte, offset uint16, returns bool) {
		all := func(uint64) []taken.Effect {
			return []taken.Effect{{Take: true, Tag: 1, Success: taken.IfZero}, {Give: true, Arg: 1, Tag: 1}}
		}
		_, _ = (arm64.Arch{}).SpinLoop(code, 0x80000000, int(offset))
		_, _, _ = taken.Sites(arm64.Arch{}, code, 0x80000000, all)
		o, ok := taken.Find(arm64.Arch{}, code, 0x80000000, int(offset), returns, all)
		if !ok {
			return
		}
		any := func(uint64, int) (uint64, bool) { return 1, true }
		one := func(arch.Reg) (uint64, bool) { return 1, true }
		v := &taken.FrameValues{CFA: 0x1000, Register: one, Entry: one, Load: any, Own: func(int64) (uint64, bool) { return 1, true }}
		for i := range o.Taken {
			o.Address(&o.Taken[i], v)
		}
		for i := range o.Given {
			o.GivenAddress(&o.Given[i], v)
		}
		o.Argument(0, v)
	})
}
