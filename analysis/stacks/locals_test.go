package stacks_test

import (
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures"
)

// TestLocalsAreTheGuestsLocks finds the argument "lock" of the function that each
// planted task waits in: it must be the address of the lock that the guest's
// module says the task waits for.
func TestLocalsAreTheGuestsLocks(t *testing.T) {
	r := collect(t, stacks.Options{Locals: true, States: "D"})
	waits := map[int32]string{}
	for _, p := range fixtures.Truth(t, "main").Plant.Players {
		if p.State == "waiting" && strings.Trim(p.Waits, "0") != "" { // it does not know the one of rtnl
			waits[int32(p.Tid)] = "0x" + p.Waits
		}
	}
	functions := []string{"__mutex_lock", "rwsem_down_write_slowpath", "rwsem_down_read_slowpath", "down", "rt_mutex_slowlock"}
	found, values := 0, 0
	for _, s := range r.Stacks {
		want, planted := waits[s.PID]
		if !planted {
			continue
		}
		for _, f := range s.Frames {
			for _, src := range f.Source {
				for _, l := range src.Locals {
					if l.Value != "" {
						values++
					}
					if l.Parameter && l.Name == "lock" && l.Value != "" && isOneOf(src.Function, functions) {
						found++
						if addr, _, _ := strings.Cut(l.Value, " "); addr != want {
							t.Errorf("%d %s: %s has lock = %s in %s; the guest says %s", s.PID, s.Comm, src.Function, l.Value, l.Where, want)
						}
					}
				}
			}
		}
	}
	t.Logf("%d locks of %d planted waits; %d values of variables", found, len(waits), values)
	if found < 10 || values < 200 {
		t.Errorf("%d locks and %d values were found", found, values)
	}
}

func isOneOf(name string, list []string) bool {
	for _, want := range list {
		if strings.HasPrefix(name, want) {
			return true
		}
	}
	return false
}

// TestArgumentsAsPassed compares an argument that is only known from the
// instructions before the call, the address that futex_wait was given, with the
// first argument of the system call in the registers of user mode.
func TestArgumentsAsPassed(t *testing.T) {
	r := collect(t, stacks.Options{Locals: true, In: []string{"futex_wait"}, States: "S"})
	compared := 0
	for _, s := range r.Stacks {
		if s.User == nil {
			t.Errorf("%d does not come from user mode", s.PID)
			continue
		}
		di := ""
		for _, reg := range s.User.Registers {
			if reg.Name == "di" {
				di = reg.Value.String()
			}
		}
		for _, f := range s.Frames {
			for _, src := range f.Source {
				for _, l := range src.Locals {
					if l.Name != "uaddr" || !l.Parameter || l.Where != "as passed by the caller" {
						continue
					}
					if compared++; strings.TrimLeft(strings.TrimPrefix(di, "0x"), "0") != strings.TrimPrefix(l.Value, "0x") {
						t.Errorf("%d: %s was passed uaddr = %s; the system call %s", s.PID, src.Function, l.Value, di)
					}
				}
			}
		}
	}
	if compared < 50 {
		t.Errorf("%d arguments were compared", compared)
	}
}
