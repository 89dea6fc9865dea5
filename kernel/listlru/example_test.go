package listlru_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/listlru"
)

func ExampleReader_Lists() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	lrus, err := listlru.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The LRU of the page cache's shadow entries: one list for each NUMA node.
	addr, err := k.Symbol("shadow_nodes")
	if err != nil {
		fmt.Println(err)
		return
	}
	for l, err := range lrus.Lists(addr) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if l.Memcg < 0 {
			fmt.Println("node", l.Node)
		}
	}
	// Output:
	// node 0
	// node 1
}
