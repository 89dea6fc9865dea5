package census

import (
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// memcgLayout is struct mem_cgroup (mm/memcontrol.c, include/linux/memcontrol.h). Its
// kmemcg_id is that of its LRU lists; a cgroup that was removed hands it on to its
// parent.
type memcgLayout struct {
	kernel.Layout `kernel:"struct mem_cgroup"`
	CSS           kernel.Offset `kernel:"css"`
	ID            kernel.I32    `kernel:"kmemcg_id"`
}

// cssLayout is struct cgroup_subsys_state, whose tree has been here since 3.17.
type cssLayout struct {
	kernel.Layout `kernel:"struct cgroup_subsys_state"`
	Cgroup        kernel.U64    `kernel:"cgroup"`
	Children      kernel.Offset `kernel:"children"`
	Sibling       kernel.Offset `kernel:"sibling"`
}

// maxMemcgs bounds how many memory cgroups are named: ids have 16 bits.
const maxMemcgs = 1 << 16

// memcgPaths are the paths of the memory cgroups by kmemcg_id, as far as the kernel's
// structures tell them.
func memcgPaths(fs *vfs.FS) map[int]string {
	k := fs.Kernel()
	var m memcgLayout
	var c cssLayout
	for _, l := range []any{&m, &c} {
		if k.Resolve(l) != nil {
			return nil
		}
	}
	root, err := k.Object("root_mem_cgroup").Uint()
	if err != nil {
		at, err := k.Symbol("root_mem_cgroup")
		if err != nil {
			return nil
		}
		if root, err = k.Uint64(at); err != nil {
			return nil
		}
	}
	details, err := cgroupPaths(fs)
	if err != nil {
		return nil
	}
	names := make(map[int]string)
	todo := []uint64{root}
	for seen := 0; len(todo) > 0 && seen < maxMemcgs; seen++ {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		b, err := k.Peek(at, make([]byte, m.Span()))
		if err != nil {
			continue
		}
		css := at + m.CSS.Offset()
		if cgroup, err := k.Uint64(css + c.Cgroup.Offset()); err == nil {
			path, _ := details.CgroupPath(cgroup)
			if id := int(m.ID.Get(b)); names[id] == "" {
				names[id] = path
			}
		}
		for node, err := range list.Circular(k, css+c.Children.Offset(), maxMemcgs) {
			if err != nil {
				break
			}
			todo = append(todo, node-c.Sibling.Offset()-m.CSS.Offset())
		}
	}
	return names
}

func cgroupPaths(fs *vfs.FS) (*task.Details, error) {
	tasks, err := task.New(fs.Kernel())
	if err != nil {
		return nil, err
	}
	return task.NewDetails(tasks, fs)
}
