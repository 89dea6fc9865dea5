package find

import (
	"errors"
	"strings"
	"testing"
)

// TestLargeRPM: the payload of packages with very large files has no sizes, and is
// refused by name.
func TestLargeRPM(t *testing.T) {
	payload := strings.NewReader(cpioStripped + strings.Repeat("0", 200))
	err := eachCPIOMember(payload, func(member) error { return nil })
	if !errors.Is(err, errLargeRPM) || !strings.Contains(err.Error(), "rpm2archive") {
		t.Errorf("the error is %v", err)
	}
}
