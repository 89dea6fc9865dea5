package dwarf

import (
	"github.com/kmortem/mortem/kernel/ctype"
)

// Enumerator finds a constant of any enum by name, and the enum.
func (d *Data) Enumerator(name string) (value int64, t *ctype.Type, ok bool) {
	return 0, nil, false
}
