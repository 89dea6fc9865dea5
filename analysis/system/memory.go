package system

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// maxNodes is the highest MAX_NUMNODES of x86-64 and arm64.
const maxNodes = 1024

// present is the memory of all nodes in bytes (struct pglist_data,
// node_present_pages): node_data points to nr_node_ids of them on machines that may
// have several, and contig_page_data is the only one on others.
func present(k *kernel.Kernel) (uint64, error) {
	if one, err := variableOf(k, "contig_page_data", "struct pglist_data"); err == nil {
		n, err := one.Field("node_present_pages").Uint()
		return n * k.PageSize(), err
	}
	nodes, err := k.Symbol("node_data")
	if err != nil {
		return 0, err
	}
	ids, err := k.Symbol("nr_node_ids")
	if err != nil {
		return 0, err
	}
	count, err := k.Uint32(ids)
	if err != nil {
		return 0, err
	}
	total := uint64(0)
	for i := range uint64(min(count, maxNodes)) {
		pages, err := nodePages(k, nodes+8*i)
		if err != nil {
			return 0, fmt.Errorf("node %d: %w", i, err)
		}
		total += pages
	}
	return total * k.PageSize(), nil
}

// nodePages is how many pages the node has that a pointer leads to: none where it is
// NULL.
func nodePages(k *kernel.Kernel, pointer uint64) (uint64, error) {
	addr, err := k.Uint64(pointer)
	if err != nil || addr == 0 {
		return 0, err
	}
	node, err := k.ObjectAt("struct pglist_data", addr)
	if err != nil {
		return 0, err
	}
	return node.Field("node_present_pages").Uint()
}
