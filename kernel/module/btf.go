package module

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
)

// btfModuleLayout is struct btf_module, an element of the list btf_modules,
// which keeps the BTF of loaded modules (kernel/bpf/btf.c, since 5.11).
type btfModuleLayout struct {
	kernel.Layout `kernel:"struct btf_module"`
	List          kernel.U64 `kernel:"list.next"`
	Module        kernel.U64 `kernel:"module"`
	BTF           kernel.U64 `kernel:"btf"`
}

type btfLayout struct {
	kernel.Layout `kernel:"struct btf"`
	Data          kernel.U64 `kernel:"data"`
	Length        kernel.U32 `kernel:"data_size"`
}

// maxBTF bounds the BTF of one module.
const maxBTF = 64 << 20

// ErrNoBTF: a module has no BTF in the kernel's memory.
var ErrNoBTF = errors.New("the module has no BTF in memory")

// BTF returns a module's BTF, which continues that of the kernel: see
// btf.ParseSplit. The error wraps ErrNoBTF for one that has none.
func (r *Reader) BTF(m *Module) ([]byte, error) {
	var l btfModuleLayout
	var data btfLayout
	head, err := r.k.Symbol("btf_modules")
	if err == nil {
		err = errors.Join(r.k.Resolve(&l), r.k.Resolve(&data))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", m.Name, ErrNoBTF, err)
	}
	for node, err := range list.Circular(r.k, head, maxModules) {
		if err != nil {
			return nil, fmt.Errorf("btf_modules: %w", err)
		}
		b, err := r.k.Peek(node-l.List.Offset(), make([]byte, l.Span()))
		if err != nil {
			return nil, fmt.Errorf("btf_modules: %w", err)
		}
		if l.Module.Get(b) == m.Addr {
			return r.readBTF(m, l.BTF.Get(b), &data)
		}
	}
	return nil, fmt.Errorf("%s: %w", m.Name, ErrNoBTF)
}

func (r *Reader) readBTF(m *Module, addr uint64, l *btfLayout) ([]byte, error) {
	b, err := r.k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		return nil, fmt.Errorf("BTF of module %s: %w", m.Name, err)
	}
	size := l.Length.Get(b)
	if size > maxBTF {
		return nil, fmt.Errorf("BTF of module %s: %d bytes are too many to be true", m.Name, size)
	}
	raw := make([]byte, size)
	if _, err := r.k.Read(raw, l.Data.Get(b)); err != nil {
		return nil, fmt.Errorf("BTF of module %s: %w", m.Name, err)
	}
	return raw, nil
}
