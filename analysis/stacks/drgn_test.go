package stacks_test

import (
	"strconv"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures"
)

// drgnTasks is what fixtures/record/record.py wrote of drgn's stack traces.
type drgnTasks struct {
	Tasks []struct {
		Task   string `json:"task"`
		PID    int32  `json:"pid"`
		OnCPU  int    `json:"on_cpu"`
		Frames []struct {
			Function string `json:"function"`
			PC       string `json:"pc"`
			SP       string `json:"sp"`
			Inlined  bool   `json:"inlined"`
			File     string `json:"file"`
			Line     int    `json:"line"`
		} `json:"frames"`
	} `json:"tasks"`
}

func hex(s string) uint64 {
	n, _ := strconv.ParseUint(s, 16, 64)
	return n
}

// TestStacksAreDrgns compares each sleeping task's stack with drgn's: function,
// address and stack pointer of every frame, and the functions that the compiler
// inlined, with file and line, in the kernel and in the module. It takes the registers in QEMU's notes for
// those of the tasks 1 to 4, and reads the stack of an exited task that is freed:
// these are left out.
func TestStacksAreDrgns(t *testing.T) {
	var want drgnTasks
	fixtures.Recorded(t, "main/drgn.json", &want)
	r := collectWithModules(t, stacks.Options{Lines: true})
	byAddr := map[uint64]*stacks.Stack{}
	for i := range r.Stacks {
		byAddr[uint64(r.Stacks[i].Addr)] = &r.Stacks[i]
	}
	compared, inlined, inModule := 0, 0, 0
	for _, task := range want.Tasks {
		s := byAddr[hex(task.Task)]
		if s == nil {
			t.Errorf("no stack of %d at %s", task.PID, task.Task)
			continue
		}
		if s.Running || s.End == "freed" || len(task.Frames) == 0 || hex(task.Frames[0].PC)>>63 == 0 {
			continue
		}
		at := 0 // in s.Frames
		source := 0
		for i, f := range task.Frames {
			if at >= len(s.Frames) {
				t.Errorf("%d: drgn has %d frames, as the %d.: %+v", task.PID, len(task.Frames), i, f)
				break
			}
			g := &s.Frames[at]
			if uint64(g.PC) != hex(f.PC) || uint64(g.SP) != hex(f.SP) {
				t.Errorf("%d: frame %d is at %s with sp %s, drgn's at %s with %s", task.PID, at, g.PC, g.SP, f.PC, f.SP)
				break
			}
			if f.Function != "" && source < len(g.Source) {
				w := g.Source[source]
				if w.Function != f.Function || w.Inlined != f.Inlined || w.File != f.File || w.Line != f.Line {
					t.Errorf("%d: frame %d is %+v, drgn has %+v", task.PID, at, w, f)
				}
				if f.Inlined {
					inlined++
				}
				if g.Module != "" {
					inModule++
				}
			} else if f.Function != "" {
				t.Errorf("%d: frame %d has no source, drgn has %+v", task.PID, at, f)
			}
			if source++; !f.Inlined {
				at, source = at+1, 0
			}
			compared++
		}
	}
	t.Logf("%d frames compared, %d of them inlined, %d in the module", compared, inlined, inModule)
	if compared < 1000 || inlined < 100 || inModule < 150 {
		t.Errorf("only %d frames were compared, %d of them inlined, %d in the module", compared, inlined, inModule)
	}
}
