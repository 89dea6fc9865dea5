// Package memcg reads the memory cgroups: which there are, where in the hierarchy each
// is, and what it is charged for. All layouts of struct mem_cgroup are here:
//   - until 3.15 only a struct cgroup knows its children; their memory cgroups are found
//     in its array subsys. Since 3.16 struct cgroup_subsys_state has its own list.
//   - counters are of struct res_counter, in bytes, until 3.18, and of struct
//     page_counter, in pages, since 3.19 and in RHEL 7.
package memcg

import (
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cgroup"
	"github.com/kmortem/mortem/kernel/list"
)

// groupLayout is struct mem_cgroup (mm/memcontrol.c; include/linux/memcontrol.h since
// 4.5).
type groupLayout struct {
	kernel.Layout `kernel:"struct mem_cgroup"`
	CSS           kernel.Offset `kernel:"css"`
	ID            kernel.I32    `kernel:"kmemcg_id,optional"` // since 3.8, with CONFIG_MEMCG_KMEM
	Memory        kernel.Offset `kernel:"memory|res"`
	Memsw         kernel.Offset `kernel:"memsw,optional"`
	Swap          kernel.Offset `kernel:"swap,optional"`
	Kmem          kernel.Offset `kernel:"kmem,optional"`
}

// stateLayout is struct cgroup_subsys_state (include/linux/cgroup.h, cgroup-defs.h since
// 4.2). Since 3.16 it has its own list of children.
type stateLayout struct {
	kernel.Layout `kernel:"struct cgroup_subsys_state"`
	Cgroup        kernel.U64    `kernel:"cgroup"`
	Sibling       kernel.Offset `kernel:"sibling,optional"`
	Children      kernel.Offset `kernel:"children,optional"`
	Flags         kernel.Uint   `kernel:"flags,optional"`
}

// cgroupLayout is struct cgroup before that: its children and their subsystems.
type cgroupLayout struct {
	kernel.Layout `kernel:"struct cgroup"`
	Sibling       kernel.Offset `kernel:"sibling,optional"`
	Children      kernel.Offset `kernel:"children,optional"`
	Subsys        kernel.Bytes  `kernel:"subsys"`
}

// Reader knows the layouts of memory cgroups.
type Reader struct {
	k       *kernel.Kernel
	group   groupLayout
	state   stateLayout
	cgroup  cgroupLayout
	counter counterLayout
	paths   *cgroup.Reader
	unit    uint64 // bytes of what counters count
	online  uint64 // CSS_ONLINE
}

// New resolves the layouts. The error wraps kernel.ErrNotFound where the kernel has no
// memory cgroups.
func New(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k, online: 1 << 1}
	if !k.HasSymbol(rootName) {
		return nil, fmt.Errorf("memory cgroups: %s: %w", rootName, kernel.ErrNotFound)
	}
	for _, l := range []any{&r.group, &r.state} {
		if err := k.Resolve(l); err != nil {
			return nil, fmt.Errorf("memory cgroups: %w", err)
		}
	}
	if err := r.resolveCounters(); err != nil {
		return nil, fmt.Errorf("memory cgroups: %w", err)
	}
	if v, _, err := k.Info().Enumerator("CSS_ONLINE"); err == nil && v > 0 {
		r.online = uint64(v)
	}
	if !r.state.Children.Has() {
		if err := k.Resolve(&r.cgroup); err != nil {
			return nil, fmt.Errorf("memory cgroups: %w", err)
		}
	}
	var err error
	r.paths, err = cgroup.New(k)
	return r, err
}

// Group is one memory cgroup: struct mem_cgroup (include/linux/memcontrol.h,
// mm/memcontrol.c before 4.3). Addresses are kernel virtual ones.
type Group struct {
	Addr   uint64 // virtual address of the struct mem_cgroup
	Cgroup uint64 // virtual address of its struct cgroup
	Path   string // in its hierarchy, escaped
	// Offline says that it was removed, and is held by what it is charged for. Kernels
	// before 3.16 do not tell: there it is false.
	Offline bool
}

const (
	// rootName is the variable that leads to all of them.
	rootName = "root_mem_cgroup"
	// maxGroups bounds how many there are. The numbers of living ones have 16 bits,
	// removed ones stay as long as they are charged for something.
	maxGroups = 1 << 20
	maxDepth  = 512
)

// All yields all memory cgroups, each before those below it. An error may come with the
// group that it is of; what is below a group that cannot be read is not found.
func (r *Reader) All() iter.Seq2[*Group, error] {
	return func(yield func(*Group, error) bool) {
		at, err := r.k.Symbol(rootName)
		if err == nil {
			at, err = r.k.Uint64(at)
		}
		switch {
		case err != nil:
			yield(nil, fmt.Errorf("%s: %w", rootName, err))
		case at != 0:
			w := walker{Reader: r, yield: yield, left: maxGroups, index: -1}
			w.walk(at, 0)
		}
	}
}

// At reads the struct mem_cgroup at a kernel virtual address. A group whose path is not
// known comes with an error.
func (r *Reader) At(addr uint64) (*Group, error) {
	b, err := r.k.Peek(addr+r.group.CSS.Offset(), make([]byte, r.state.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct mem_cgroup at %#x: %w", addr, err)
	}
	g := &Group{Addr: addr, Cgroup: r.state.Cgroup.Get(b)}
	if r.state.Children.Has() && r.state.Flags.Has() {
		g.Offline = r.state.Flags.Get(b)&r.online == 0
	}
	if g.Path, err = r.paths.Path(g.Cgroup); err != nil {
		return g, fmt.Errorf("path of the cgroup at %#x: %w", g.Cgroup, err)
	}
	return g, nil
}

// ID is the number, kmemcg_id, that the LRU lists of the struct mem_cgroup at a kernel
// virtual address have (see kernel/listlru): -1 for the root. A cgroup that was removed
// hands its lists, and with them the number, on to its parent. The error wraps
// kernel.ErrNotFound on kernels that have no such lists.
func (r *Reader) ID(addr uint64) (int, error) {
	if !r.group.ID.Has() {
		return 0, fmt.Errorf("struct mem_cgroup has no kmemcg_id: %w", kernel.ErrNotFound)
	}
	n, err := r.k.Uint32(addr + r.group.ID.Offset())
	if err != nil {
		return 0, fmt.Errorf("struct mem_cgroup at %#x: %w", addr, err)
	}
	return int(int32(n)), nil
}

// walker is one walk over the groups.
type walker struct {
	*Reader
	yield func(*Group, error) bool
	left  int
	index int // of the memory controller among a cgroup's, before 3.16; -1 until it is known
}

// walk yields a group and those below it, and tells whether to go on.
func (w *walker) walk(addr uint64, depth int) bool {
	if w.left--; w.left < 0 || depth > maxDepth {
		return w.yield(nil, fmt.Errorf("memory cgroups: more than there can be"))
	}
	g, err := w.At(addr)
	if !w.yield(g, err) {
		return false
	}
	if g == nil {
		return true
	}
	for child, err := range w.children(g) {
		if err != nil {
			return w.yield(nil, fmt.Errorf("groups below the memory cgroup %s: %w", g.Path, err))
		}
		if !w.walk(child, depth+1) {
			return false
		}
	}
	return true
}

// children yields the memory cgroups directly below one.
func (w *walker) children(g *Group) iter.Seq2[uint64, error] {
	if w.state.Children.Has() {
		return func(yield func(uint64, error) bool) {
			css := w.group.CSS.Offset()
			for link, err := range list.Circular(w.k, g.Addr+css+w.state.Children.Offset(), maxGroups) {
				if !yield(link-w.state.Sibling.Offset()-css, err) {
					return
				}
			}
		}
	}
	return func(yield func(uint64, error) bool) { w.oldChildren(g, yield) }
}

// oldChildren finds them as before 3.16: those of the cgroup, and what is theirs of the
// memory controller.
func (w *walker) oldChildren(g *Group, yield func(uint64, error) bool) {
	if w.index < 0 && !w.findIndex(g) || !w.cgroup.Children.Has() {
		return
	}
	for link, err := range list.Circular(w.k, g.Cgroup+w.cgroup.Children.Offset(), maxGroups) {
		state := uint64(0)
		if err == nil {
			state, err = w.k.Uint64(link - w.cgroup.Sibling.Offset() + w.cgroup.Subsys.Offset() + 8*uint64(w.index))
		}
		if err == nil && state == 0 {
			continue
		}
		if !yield(state-w.group.CSS.Offset(), err) {
			return
		}
	}
}

// findIndex finds out which of a cgroup's subsystems is the memory controller: the one
// that is the group at hand.
func (w *walker) findIndex(g *Group) bool {
	for i := range w.cgroup.Subsys.Len() / 8 {
		state, err := w.k.Uint64(g.Cgroup + w.cgroup.Subsys.Offset() + 8*uint64(i))
		if err == nil && state == g.Addr+w.group.CSS.Offset() {
			w.index = i
			return true
		}
	}
	return false
}
