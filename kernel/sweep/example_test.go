package sweep_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/sweep"
)

func ExampleRun() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	pages, err := page.Open(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	caches, err := slab.Open(k, pages)
	if err != nil {
		fmt.Println(err)
		return
	}
	names, err := caches.ByName("names_cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	var bytes atomic.Int64
	r, err := sweep.Run(context.Background(), caches, []sweep.Consumer{{
		Caches: []*slab.Cache{names},
		Visit: func(_ int, s *sweep.Slab) error {
			for i := range s.Objects {
				if s.Live(i) && s.Bytes(i) != nil {
					bytes.Add(int64(len(s.Bytes(i))))
				}
			}
			return nil
		},
	}}, sweep.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(uint64(bytes.Load()) == 4096*r.Caches[0].Live, r.Coverage.Complete())
	// Output: true true
}
