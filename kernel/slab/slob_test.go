package slab_test

import (
	"errors"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
)

// slobInfo has SLOB's struct kmem_cache (mm/slob.c), and all else as it is.
type slobInfo struct{ debuginfo.Source }

func (s slobInfo) Type(name string) (*ctype.Type, error) {
	if name != "struct kmem_cache" {
		return s.Source.Type(name)
	}
	number := &ctype.Type{Kind: ctype.Int, Name: "unsigned int", Bytes: 4}
	pointer := &ctype.Type{Kind: ctype.Pointer, Bytes: 8}
	return ctype.Lazy(&ctype.Type{Kind: ctype.Struct, Name: "kmem_cache", Bytes: 32}, func() ctype.Body {
		return ctype.Body{Members: []ctype.Member{{Name: "size", Type: number}, {Name: "align", Offset: 4, Type: number},
			{Name: "flags", Offset: 8, Type: number}, {Name: "name", Offset: 16, Type: pointer}, {Name: "ctor", Offset: 24, Type: pointer}}}
	}), nil
}

// A kernel with SLOB is named as such.
func TestSLOB(t *testing.T) {
	plan, _, _ := scene(synthetic.EL7(), 1)
	image, err := plan.Image()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, slobInfo{info(t, plan)}, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := page.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slab.Open(k, m); !errors.Is(err, slab.ErrSLOB) {
		t.Errorf("%v", err)
	}
}
