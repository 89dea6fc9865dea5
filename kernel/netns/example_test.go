package netns_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/netns"
)

func ExampleReader_All() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	nets, err := netns.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	for n, err := range nets.All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n.Inum, n.Init) // the first in the list
		break
	}
	// Output: 4026531840 true
}
