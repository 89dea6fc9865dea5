// Package archs knows every architecture whose stacks and code can be read.
package archs

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/arch/arm64"
)

// ErrUnknown: stacks and code of the architecture cannot be read.
var ErrUnknown = errors.New("stacks and instructions of this architecture cannot be read")

var known = map[dump.Arch]arch.Arch{
	dump.ArchX86_64: amd64.Arch{},
	dump.ArchARM64:  arm64.Arch{},
}

// Of is the architecture that a dump's facts name. The error wraps ErrUnknown.
func Of(name dump.Arch) (arch.Arch, error) {
	a, ok := known[name]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return a, nil
}
