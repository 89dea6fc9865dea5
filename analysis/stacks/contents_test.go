package stacks_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// crashFrame is a frame as crash prints it, with the words below it.
type crashFrame struct {
	task, slot uint64
	function   string
	words      map[uint64]string
	order      []uint64
}

// crashFrames reads what crash printed for one of the commands bt -e, -f and -FF of all
// tasks of the kdump fixture.
func crashFrames(t *testing.T, command int) []crashFrame {
	t.Helper()
	text, err := os.ReadFile(fixtures.Unpacked(t, "kdump/crash.txt"))
	if err != nil {
		t.Fatal(err)
	}
	header := regexp.MustCompile(`^PID: .*TASK: ([0-9a-f]{16})`)
	frame := regexp.MustCompile(`^ *#\d+ \[([0-9a-f]{16})\] (\S+) at `)
	data := regexp.MustCompile(`^    ([0-9a-f]{16}): (\S+)(?: +(\S+))? *$`)
	seen := map[string]int{}
	var list []crashFrame
	task := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if m := header.FindStringSubmatch(line); m != nil {
			task = m[1]
			seen[task]++
		}
		if seen[task] != command+1 {
			continue
		}
		if m := frame.FindStringSubmatch(line); m != nil {
			list = append(list, crashFrame{task: hex(task), slot: hex(m[1]), function: m[2], words: map[uint64]string{}})
		}
		if m := data.FindStringSubmatch(line); m != nil && len(list) > 0 {
			f := &list[len(list)-1]
			for i, word := range m[2:] {
				if word != "" {
					at := hex(m[1]) + uint64(8*i)
					f.words[at] = word
					f.order = append(f.order, at)
				}
			}
		}
	}
	return list
}

// ofCrash finds the frame that crash has too, by where its return address lies.
func ofCrash(r *stacks.Report, f *crashFrame) *stacks.Frame {
	for i := range r.Stacks {
		s := &r.Stacks[i]
		for j := range s.Frames {
			if uint64(s.Addr) == f.task && uint64(s.Frames[j].Slot) == f.slot && s.Frames[j].Function == f.function {
				return &s.Frames[j]
			}
		}
	}
	return nil
}

func ofKdump(t *testing.T, opt stacks.Options) *stacks.Report {
	t.Helper()
	tasks, err := stacks.Open(kerneltest.Kernel(t, fixtures.Unpacked(t, "kdump/vmcore.kdump")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := tasks.Collect(t.Context(), opt)
	if err != nil || len(r.Missing) > 0 || !r.Coverage.Complete() {
		t.Fatalf("%v, missing %q, %+v", err, r.Missing, r.Coverage)
	}
	return r
}

// TestDataIsCrashs compares the memory of each frame with what crash's bt -f prints: the
// same words at the same places. The last frame of a stack has none in crash.
func TestDataIsCrashs(t *testing.T) {
	r := ofKdump(t, stacks.Options{Data: true})
	compared := 0
	frames := crashFrames(t, 1)
	for i := range frames {
		f := &frames[i]
		ours := ofCrash(r, f)
		if ours == nil || len(f.order) == 0 {
			continue
		}
		compared++
		if len(ours.Data) != len(f.order) {
			t.Errorf("%s at %#x: %d words, crash %d", f.function, f.slot, len(ours.Data), len(f.order))
			continue
		}
		for i, at := range f.order {
			if w := ours.Data[i]; uint64(w.Addr) != at || fmt.Sprintf("%016x", uint64(w.Value)) != f.words[at] {
				t.Errorf("%s: %v, crash %#x: %s", f.function, w, at, f.words[at])
			}
		}
	}
	if compared < 20 {
		t.Errorf("only %d frames are crash's too", compared)
	}
}

// TestNamesAreCrashs compares what the words point to with what crash's bt -FF says:
// slab caches, and symbols. It has labels of the compiler for constants (.LC0), which
// say nothing.
func TestNamesAreCrashs(t *testing.T) {
	r := ofKdump(t, stacks.Options{Names: true})
	caches, symbols := 0, 0
	frames := crashFrames(t, 2)
	for i := range frames {
		f := &frames[i]
		ours := ofCrash(r, f)
		if ours == nil || len(f.order) == 0 {
			continue
		}
		for i, at := range f.order {
			if i >= len(ours.Data) {
				t.Fatalf("%s: %d words, crash %d", f.function, len(ours.Data), len(f.order))
			}
			w, want := ours.Data[i], f.words[at]
			symbol, _, _ := strings.Cut(w.Symbol, "+")
			symbol, _, _ = strings.Cut(symbol, " ")
			theirs, _, _ := strings.Cut(want, "+")
			switch {
			case strings.HasPrefix(want, "["):
				caches++
				if want != fmt.Sprintf("[%016x:%s]", uint64(w.Value), w.Cache) || w.Free || w.Value < w.Object || w.Value-w.Object > 1<<20 {
					t.Errorf("%s: %+v, crash %s", f.function, w, want)
				}
			case strings.HasPrefix(want, ".L"):
			case regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(want):
				if w.Cache != "" { // of what is freed after the start of the kernel it has no symbols
					t.Errorf("%s: %+v, crash has no name of %s", f.function, w, want)
				}
			default:
				symbols++
				if symbol != theirs {
					t.Errorf("%s: %+v, crash %s", f.function, w, want)
				}
			}
		}
	}
	if caches < 8 || symbols < 20 {
		t.Errorf("crash names only %d objects and %d symbols", caches, symbols)
	}
}

// TestFoundExceptions: what the search finds is told beside the frames, and which of it
// they lead through.
func TestFoundExceptions(t *testing.T) {
	r := ofKdump(t, stacks.Options{Exceptions: true})
	walked, remains := 0, 0
	for i := range r.Stacks {
		s := &r.Stacks[i]
		if s.User != nil && s.User.Addr != 0 {
			found := false
			for _, f := range s.Found {
				found = found || f.Addr == s.User.Addr && f.User && f.Walked && f.Stack == "task"
			}
			if !found {
				t.Errorf("%d: the registers of user mode at %s are not among those found", s.PID, s.User.Addr)
			}
		}
		for _, f := range s.Found {
			if f.Walked {
				walked++
			} else {
				remains++
			}
		}
	}
	if walked < 50 || remains == 0 {
		t.Errorf("%d of the frames, %d others", walked, remains)
	}
}
