package stacks_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
)

// withModules opens the fixture's kernel with the debug information of its module.
func withModules(t testing.TB) *kernel.Kernel {
	t.Helper()
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	table, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	file := fixtures.Path(t, "mortem_plant.ko.xz")
	types := module.AttachTypes(k, table, func(m *module.Module) (debuginfo.Source, error) {
		if m.Name != "mortem_plant" {
			return nil, debuginfo.ErrNotFound
		}
		return debuginfo.Open(file)
	})
	t.Cleanup(func() { types.Close() })
	return k
}

func collectWithModules(t testing.TB, opt stacks.Options) *stacks.Report {
	t.Helper()
	tasks, err := stacks.Open(withModules(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := tasks.Collect(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestLocalsInTheModule reads the argument p of the functions of the fixture's
// module: the player that it points to must be the task itself.
func TestLocalsInTheModule(t *testing.T) {
	k := withModules(t)
	tasks, err := stacks.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	players := map[int32]string{}
	for _, p := range fixtures.Truth(t, "main").Plant.Players {
		players[int32(p.Tid)] = p.Role
	}
	r, err := tasks.Collect(t.Context(), stacks.Options{Locals: true})
	if err != nil {
		t.Fatal(err)
	}
	player, err := k.Type("struct mp_player")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, s := range r.Stacks {
		role, planted := players[s.PID]
		for _, f := range s.Frames {
			for _, source := range f.Source {
				for _, l := range source.Locals {
					if f.Module == "" || l.Type != "struct mp_player *" || l.Value == "" {
						continue
					}
					value, _, _ := strings.Cut(l.Value, " ")
					addr, err := strconv.ParseUint(value, 0, 64)
					if err != nil {
						t.Fatal(err)
					}
					p := k.ObjectOf(player, addr)
					tid, err1 := p.Field("tid").Int()
					name, err2 := p.Field("role").Text()
					if !planted || err1 != nil || err2 != nil || tid != int64(s.PID) || name != role {
						t.Errorf("%d %s: %s has %s = %s, which is player %d %q (%v, %v); the guest says %q", s.PID, s.Comm, source.Function, l.Name, l.Value, tid, name, err1, err2, role)
					}
					found++
				}
			}
		}
	}
	t.Logf("%d arguments of %d players", found, len(players))
	if found < 20 {
		t.Errorf("only %d arguments were found", found)
	}
}
