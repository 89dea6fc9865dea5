package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
)

// Where the kernel's own data was filtered out, the user is told what may have done that; of
// what is missing or damaged nothing is said of the sort.
func TestExcludedIsExplained(t *testing.T) {
	for err, explained := range map[error]bool{dump.ErrExcluded: true, dump.ErrCorrupt: false} {
		var cover kernel.Coverage
		cover.Fail(fmt.Errorf("super_blocks: %w", err))
		var out, said bytes.Buffer
		a := &app{stdout: &out, stderr: &said}
		if got := a.answer(nil, &cover, func(*printer) {}); !errors.Is(got, statusOnly(exitPartly)) {
			t.Errorf("%v: %v", err, got)
		}
		if strings.Contains(said.String(), excludedLine) != explained {
			t.Errorf("%v: %s", err, said.String())
		}
	}
}
