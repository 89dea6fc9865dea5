package unwind

import (
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/module"
)

// text tells addresses of code from others.
type text struct {
	image   []span // of the kernel image
	modules *module.Table
}

type span struct{ start, end uint64 }

func newText(k *kernel.Kernel, modules *module.Table) *text {
	t := &text{modules: modules}
	for _, pair := range [][2]string{{"_stext", "_etext"}, {"_text", "_etext"}, {"_sinittext", "_einittext"}} {
		start, err1 := k.Symbol(pair[0])
		end, err2 := k.Symbol(pair[1])
		if err1 == nil && err2 == nil && start < end {
			t.image = append(t.image, span{start, end})
		}
	}
	return t
}

// holds tells whether code of the kernel image or of a module lies at an
// address.
func (t *text) holds(addr uint64) bool {
	return t.inImage(addr) || t.inModule(addr)
}

func (t *text) inImage(addr uint64) bool {
	for _, s := range t.image {
		if addr >= s.start && addr < s.end {
			return true
		}
	}
	return false
}

func (t *text) inModule(addr uint64) bool {
	if t.modules == nil || addr>>52 != 1<<12-1 {
		return false
	}
	m, ok := t.modules.At(addr)
	if !ok {
		return false
	}
	r, ok := m.Region(addr)
	return ok && r.Text.Contains(addr)
}
