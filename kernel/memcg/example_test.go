package memcg_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/memcg"
)

func Example() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	groups, err := memcg.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	for g, err := range groups.All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		c, errs := groups.Counters(g)
		if len(errs) == 0 && c.Memory.Usage > 0 { // in bytes
			fmt.Println(g.Path)
		}
	}
	// Output:
	// /
	// /mortem
	// /mortem/throttled
	// /mortem/mem
	// /mortem/a
	// /mortem/b
}
