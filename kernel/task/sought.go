package task

import (
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel/glob"
)

// Sought are the tasks that somebody asked for one by one. It remembers which of
// them there were. Names can have * for any characters and ? for one.
type Sought struct {
	PIDs  []int32
	TGIDs []int32 // all threads of these processes
	Addrs []uint64
	Comms []string

	met map[any]bool
}

// commLength is the longest name that a task can have (TASK_COMM_LEN less the
// zero at its end). Longer names are cut when a program is started.
const commLength = 15

// keys of met, beside uint64 for addresses and string for names.
type (
	metPID  int32
	metTGID int32
)

// Any tells whether somebody asked for any.
func (s *Sought) Any() bool {
	return len(s.PIDs)+len(s.TGIDs)+len(s.Addrs)+len(s.Comms) > 0
}

// Has tells whether a task is one of them, and notes that it was met. It must be
// asked of every task.
func (s *Sought) Has(t *Task) bool {
	has := false
	meet := func(key any) {
		if s.met == nil {
			s.met = map[any]bool{}
		}
		s.met[key], has = true, true
	}
	if slices.Contains(s.PIDs, t.PID) {
		meet(metPID(t.PID))
	}
	if slices.Contains(s.TGIDs, t.TGID) {
		meet(metTGID(t.TGID))
	}
	if slices.Contains(s.Addrs, t.Addr) {
		meet(t.Addr)
	}
	for _, name := range s.Comms {
		if isCalled(t.Comm, name) {
			meet(name)
		}
	}
	return has
}

// isCalled tells whether a task's name is the one that was asked for.
func isCalled(comm, name string) bool {
	return comm == name || len(name) > commLength && comm == name[:commLength] || glob.Is(name) && glob.Match(name, comm)
}

// Missing says which of them were not met.
func (s *Sought) Missing() []string {
	var list []string
	for _, n := range s.PIDs {
		if !s.met[metPID(n)] {
			list = append(list, fmt.Sprintf("there is no task with the number %d", n))
		}
	}
	for _, n := range s.TGIDs {
		if !s.met[metTGID(n)] {
			list = append(list, fmt.Sprintf("there is no process with the number %d", n))
		}
	}
	for _, a := range s.Addrs {
		if !s.met[a] {
			list = append(list, fmt.Sprintf("there is no task at %#x", a))
		}
	}
	for _, name := range s.Comms {
		if !s.met[name] {
			list = append(list, fmt.Sprintf("there is no task called %q", name))
		}
	}
	return list
}
