package census

import (
	"errors"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/memcg"
)

// maxMemcgs bounds how many memory cgroups are told apart: ids have 16 bits.
const maxMemcgs = 1 << 16

// memcgPaths are the paths of the memory cgroups by kmemcg_id. What cannot be read is
// counted in the coverage; a kernel without memory cgroups has none.
func memcgPaths(k *kernel.Kernel, cover *kernel.Coverage) map[int]string {
	names := make(map[int]string)
	fail := func(err error) {
		if !errors.Is(err, kernel.ErrNotFound) {
			cover.Fail(err)
		}
	}
	groups, err := memcg.New(k)
	if err != nil {
		fail(err)
		return names
	}
	for g, err := range groups.All() {
		if err != nil {
			fail(err)
		}
		if g == nil {
			continue
		}
		id, err := groups.ID(g.Addr)
		if err != nil {
			fail(err)
			continue
		}
		// One that was removed has the id of its parent, which came before it.
		if names[id] == "" && len(names) < maxMemcgs {
			names[id] = g.Path
		}
	}
	return names
}
