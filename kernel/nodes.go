package kernel

import (
	"encoding/binary"
	"fmt"
)

// Node is a NUMA node, by the kernel virtual address of its description; a
// kernel without CONFIG_NUMA has one, number 0.
type Node struct {
	ID   int
	Addr uint64 // of its struct pglist_data (pg_data_t, include/linux/mmzone.h)
}

// maxNodes is the highest MAX_NUMNODES that x86-64 allows.
const maxNodes = 1 << 10

// Nodes are the NUMA nodes that have a struct pglist_data, ascending: those of
// node_data, or contig_page_data without CONFIG_NUMA. The error wraps
// ErrNotFound where there is neither, or a *ReadError where none can be read.
func (k *Kernel) Nodes() ([]Node, error) {
	array, err := k.Symbol("node_data")
	if err != nil {
		one, err := k.Symbol("contig_page_data")
		if err != nil {
			return nil, fmt.Errorf("NUMA nodes: %w", err)
		}
		return []Node{{Addr: one}}, nil
	}
	count := min(max(k.MaxNodes(), 1), maxNodes)
	if at, err := k.Symbol("nr_node_ids"); err == nil {
		if n, err := k.Uint32(at); err == nil && n > 0 && (uint64(n) < count || k.MaxNodes() == 0) {
			count = min(uint64(n), maxNodes)
		}
	}
	pointers := make([]byte, 8*count)
	got, err := k.Read(pointers, array)
	pointers = pointers[:got&^7]
	var nodes []Node
	for i := range len(pointers) / 8 {
		if addr := binary.LittleEndian.Uint64(pointers[8*i:]); addr != 0 {
			nodes = append(nodes, Node{ID: i, Addr: addr})
		}
	}
	if err != nil && len(nodes) == 0 {
		return nil, fmt.Errorf("node_data: %w", err)
	}
	return nodes, nil // nodes lie at the start of the array
}

// MaxNodes is MAX_NUMNODES, how many nodes the kernel is built for, by the arrays
// that have an element for each; 0 where none of them is known.
func (k *Kernel) MaxNodes() uint64 {
	if !k.HasSymbol("node_data") && k.HasSymbol("contig_page_data") {
		return 1
	}
	if t, err := k.info.Type("struct kmem_cache"); err == nil {
		for _, member := range []string{"node", "per_node", "nodelists"} {
			f, err := t.Field(member)
			if err != nil {
				continue
			}
			if n := f.Type.Strip().Count; n > 1 && n <= maxNodes {
				return uint64(n)
			}
		}
	}
	if t, err := k.info.Variable("node_data"); err == nil {
		if n := t.Strip().Count; n > 0 && n <= maxNodes {
			return uint64(n)
		}
	}
	return 0
}
