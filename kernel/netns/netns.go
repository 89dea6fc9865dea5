// Package netns reads network namespaces: struct net (include/net/net_namespace.h).
package netns

import (
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
)

// Reader knows the layout of the kernel's network namespaces.
type Reader struct {
	k    *kernel.Kernel
	net  netLayout
	init uint64
}

// netLayout is struct net. What changed: the inode number is proc_inum from 3.8
// to 3.18 and ns.inum since 3.19; the reference count is an atomic_t until 4.13,
// a refcount_t until 5.10, part of ns since 5.11, and renamed in 6.18.
type netLayout struct {
	kernel.Layout `kernel:"struct net"`
	List          kernel.U64    `kernel:"list.next"`
	Sysctls       kernel.Offset `kernel:"sysctls"`
	Count         kernel.I32    `kernel:"ns.__ns_ref.refs.counter|ns.count.refs.counter|count.refs.counter|count.counter"`
	Inum          kernel.U32    `kernel:"ns.inum|proc_inum,optional"`
}

// Net is one network namespace: struct net (include/net/net_namespace.h).
type Net struct {
	Addr  uint64 // virtual address of the struct net
	Inum  uint32 // inode number, as in readlink /proc/PID/ns/net; 0 before 3.8, which has none
	Count int32  // references; 0 means that it is being taken down
	Init  bool   // it is init_net
}

// New resolves the layouts. They are those of struct net
// (include/net/net_namespace.h). The error wraps kernel.ErrNotFound where the
// kernel lacks it, as one without CONFIG_NET does.
func New(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k}
	if err := k.Resolve(&r.net); err != nil {
		return nil, err
	}
	var err error
	r.init, err = k.Symbol("init_net")
	return r, err
}

// FromSet is the address of the struct net whose ctl_table_set is at a kernel
// virtual address. Only a table registered under net_sysctl_root has such a
// set, and only as long as it is not unregistered.
func (r *Reader) FromSet(set uint64) uint64 { return set - r.net.Sysctls.Offset() }

// InitSet is the address of init_net's ctl_table_set.
func (r *Reader) InitSet() uint64 { return r.init + r.net.Sysctls.Offset() }

// Read reads the struct net at a kernel virtual address. The error wraps a
// *kernel.ReadError where it cannot be read.
func (r *Reader) Read(addr uint64) (*Net, error) {
	b, err := r.k.Peek(addr, make([]byte, r.net.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct net at %#x: %w", addr, err)
	}
	n := &Net{Addr: addr, Count: r.net.Count.Get(b), Init: addr == r.init}
	if r.net.Inum.Has() {
		n.Inum = r.net.Inum.Get(b)
	}
	return n, nil
}

// maxNets bounds the walk of the list of namespaces.
const maxNets = 16 << 20

// All yields the namespaces in net_namespace_list: those that are alive, and
// those that lost their last reference and whose take-down has not begun.
func (r *Reader) All() iter.Seq2[*Net, error] {
	return func(yield func(*Net, error) bool) {
		head, err := r.k.Symbol("net_namespace_list")
		if err != nil {
			yield(nil, err)
			return
		}
		for node, err := range list.Circular(r.k, head, maxNets) {
			if err != nil {
				yield(nil, fmt.Errorf("net_namespace_list: %w", err))
				return
			}
			if !yield(r.Read(node - r.net.List.Offset())) {
				return
			}
		}
	}
}
