package page_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
)

// What the page is used for that the kernel's code starts in.
func Example() {
	k := kerneltest.ExampleKernel()
	m, err := page.Open(k)
	if err != nil {
		panic(err)
	}
	text, err := k.Symbol("_text")
	if err != nil {
		panic(err)
	}
	phys, _, err := k.Translate(text)
	if err != nil {
		panic(err)
	}
	p, err := m.Page(phys / k.PageSize())
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Form(), m.FlagNames(&p))
	// Output: vmemmap [reserved]
}
