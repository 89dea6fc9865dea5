// Package listlru reads the lists of unused objects that file systems keep for
// the shrinkers: struct list_lru (include/linux/list_lru.h, mm/list_lru.c, since
// 3.12). All its layouts are here:
//   - 3.12 to 3.18 (and RHEL 7): an array with one list a node; since 4.0 each
//     list is a struct list_lru_one inside of struct list_lru_node.
//   - 4.0 to 5.16: the lists of memory cgroups hang from each node's memcg_lrus;
//     the array has the cgroups by kmemcg_id.
//   - since 5.17: an xarray over kmemcg_id, whose entries have one list a node.
//   - since 6.13 each list_lru_one has a lock of its own, and nr_items of a node
//     is an atomic_long_t.
package listlru

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/xarray"
)

// Reader knows the layout of the kernel's list_lrus.
type Reader struct {
	k       *kernel.Kernel
	lru     lruLayout
	node    nodeLayout
	one     oneLayout
	perNode perNodeLayout
	memcg   memcgLayout
	xa      *xarray.Reader
	nodes   int
}

type lruLayout struct {
	kernel.Layout `kernel:"struct list_lru"`
	Node          kernel.U64    `kernel:"node"`
	MemcgAware    kernel.Uint   `kernel:"memcg_aware,optional"`
	XA            kernel.Offset `kernel:"xa,optional"`
}

type nodeLayout struct {
	kernel.Layout `kernel:"struct list_lru_node"`
	List          kernel.U64 `kernel:"lru.list.next|list.next"`
	OneItems      kernel.U64 `kernel:"lru.nr_items|nr_items"`
	Items         kernel.U64 `kernel:"nr_items|nr_items.counter|lru.nr_items"`
	MemcgLRUs     kernel.U64 `kernel:"memcg_lrus,optional"`
}

type oneLayout struct {
	kernel.Layout `kernel:"struct list_lru_one"`
	List          kernel.U64 `kernel:"list.next"`
	Items         kernel.U64 `kernel:"nr_items"`
}

type memcgLayout struct {
	kernel.Layout `kernel:"struct list_lru_memcg"`
	Lists         kernel.Offset `kernel:"node"`
}

// perNodeLayout is what memcg_lrus points to: struct list_lru_memcg until
// 5.16, whose array lru has one pointer a cgroup.
type perNodeLayout struct {
	kernel.Layout `kernel:"struct list_lru_memcg"`
	Lists         kernel.Offset `kernel:"lru"`
}

// maxNodes is the highest CONFIG_NODES_SHIFT's number of NUMA nodes.
const maxNodes = 1 << 10

// New resolves the layouts. The error wraps kernel.ErrNotFound where the
// kernel has no list_lru at all, as before 3.12.
func New(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k, nodes: 1}
	for _, l := range []any{&r.lru, &r.node} {
		if err := k.Resolve(l); err != nil {
			return nil, err
		}
	}
	if r.lru.XA.Has() {
		var err error
		if err = k.Resolve(&r.memcg); err == nil {
			r.xa, err = xarray.New(k)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.node.MemcgLRUs.Has() {
		if err := k.Resolve(&r.perNode); err != nil {
			return nil, err
		}
	}
	if r.node.List.Path() == "lru.list.next" {
		if err := k.Resolve(&r.one); err != nil {
			return nil, err
		}
	}
	return r, r.countNodes()
}

// countNodes reads nr_node_ids, which is a constant 1 without CONFIG_NUMA.
func (r *Reader) countNodes() error {
	addr, err := r.k.Symbol("nr_node_ids")
	if err != nil {
		return nil
	}
	n, err := r.k.Uint32(addr)
	if err != nil {
		return fmt.Errorf("nr_node_ids: %w", err)
	}
	if n == 0 || n > maxNodes {
		return fmt.Errorf("nr_node_ids: %d nodes cannot be", n)
	}
	r.nodes = int(n)
	return nil
}

// List is one of the lists that make up a list_lru: that of one NUMA node and
// one memory cgroup.
type List struct {
	Node  int    // NUMA node
	Memcg int    // kmemcg_id of the memory cgroup, -1 for objects of none and of the root
	Head  uint64 // virtual address of the struct list_head
	Items int64  // the kernel's own counter, nr_items
}

// Counter returns the sum of the nodes' nr_items of the list_lru at a virtual
// address, which includes the lists of all memory cgroups. The error wraps a
// *kernel.ReadError where a node's counter cannot be read.
func (r *Reader) Counter(lru uint64) (int64, error) {
	var sum int64
	for n := range r.nodes {
		b, err := r.readNode(lru, n)
		if err != nil {
			return sum, err
		}
		sum += int64(r.node.Items.Get(b))
	}
	return sum, nil
}

func (r *Reader) readNode(lru uint64, n int) ([]byte, error) {
	array, err := r.k.Uint64(lru + r.lru.Node.Offset())
	if err != nil {
		return nil, fmt.Errorf("struct list_lru at %#x: %w", lru, err)
	}
	at := array + uint64(n*r.node.Size())
	b, err := r.k.Peek(at, make([]byte, r.node.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct list_lru_node %d of the list_lru at %#x: %w", n, lru, err)
	}
	return b, nil
}

// Lists yields all lists of the list_lru at a virtual address, the empty ones
// included. A part that cannot be read yields its error.
func (r *Reader) Lists(lru uint64) iter.Seq2[List, error] {
	return func(yield func(List, error) bool) {
		array, err := r.k.Uint64(lru + r.lru.Node.Offset())
		if err != nil {
			yield(List{}, fmt.Errorf("struct list_lru at %#x: %w", lru, err))
			return
		}
		for n := range r.nodes {
			b, err := r.readNode(lru, n)
			if err != nil {
				if !yield(List{}, err) {
					return
				}
				continue
			}
			at := array + uint64(n*r.node.Size())
			root := List{Node: n, Memcg: -1, Head: at + r.node.List.Offset(), Items: int64(r.node.OneItems.Get(b))}
			if !yield(root, nil) {
				return
			}
			if r.node.MemcgLRUs.Has() && !r.byNode(n, r.node.MemcgLRUs.Get(b), yield) {
				return
			}
		}
		if r.lru.XA.Has() {
			r.byXarray(lru, yield)
		}
	}
}

// byXarray yields the cgroups' lists of kernels since 5.17.
func (r *Reader) byXarray(lru uint64, yield func(List, error) bool) {
	if r.lru.MemcgAware.Has() {
		aware, err := r.k.Peek(lru, make([]byte, r.lru.Span()))
		if err != nil || r.lru.MemcgAware.Get(aware) == 0 {
			return // a read error was yielded already, with the nodes
		}
	}
	size := uint64(r.one.Size())
	for e, err := range r.xa.Walk(lru + r.lru.XA.Offset()) {
		if err != nil {
			if !yield(List{}, fmt.Errorf("memory cgroups of the list_lru at %#x: %w", lru, err)) {
				return
			}
			continue
		}
		for n := range r.nodes {
			one := e.Value + r.memcg.Lists.Offset() + uint64(n)*size
			if !r.yieldOne(n, int(e.Index), one, yield) {
				return
			}
		}
	}
}

// byNode yields the cgroups' lists of kernels before 5.17: an array of
// pointers, of the length memcg_nr_cache_ids.
func (r *Reader) byNode(n int, array uint64, yield func(List, error) bool) bool {
	if array == 0 {
		return true
	}
	count := uint32(0)
	if addr, err := r.k.Symbol("memcg_nr_cache_ids"); err == nil {
		if count, err = r.k.Uint32(addr); err != nil {
			return yield(List{}, fmt.Errorf("memcg_nr_cache_ids: %w", err))
		}
	}
	const maxCgroups = 1 << 16 // MEMCG_CACHES_MAX_SIZE
	count = min(count, maxCgroups)
	pointers := make([]byte, 8*count)
	if _, err := r.k.Read(pointers, array+r.perNode.Lists.Offset()); err != nil {
		return yield(List{}, fmt.Errorf("memory cgroups of node %d: %w", n, err))
	}
	for i := range int(count) {
		one := binary.LittleEndian.Uint64(pointers[8*i:])
		if one != 0 && !r.yieldOne(n, i, one, yield) {
			return false
		}
	}
	return true
}

func (r *Reader) yieldOne(node, memcg int, one uint64, yield func(List, error) bool) bool {
	b, err := r.k.Peek(one, make([]byte, r.one.Span()))
	if err != nil {
		return yield(List{}, fmt.Errorf("struct list_lru_one at %#x: %w", one, err))
	}
	return yield(List{Node: node, Memcg: memcg, Head: one + r.one.List.Offset(), Items: int64(r.one.Items.Get(b))}, nil)
}
