package indump

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
	"github.com/kmortem/mortem/kernel/module"
)

// Module makes a source of a module's types and the kernel's: of the BTF that
// the kernel keeps of the module (since 5.11), which continues its own. The
// error wraps module.ErrNoBTF for a module that has none.
func (s *Source) Module(r *module.Reader, m *module.Module) (debuginfo.Source, error) {
	raw, err := r.BTF(m)
	if err != nil {
		return nil, err
	}
	types, err := btf.ParseSplit(raw, s.types)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", m.Name, err)
	}
	return debuginfo.FromBTF(types, "the dump itself (BTF of "+m.Name+")"), nil
}
