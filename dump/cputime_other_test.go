//go:build !linux

package dump

import "time"

// processorTime is the time on the clock.
func processorTime() time.Duration { return time.Since(benchStart) }

var benchStart = time.Now()
