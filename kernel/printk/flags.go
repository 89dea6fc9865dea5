package printk

import (
	"encoding/binary"
	"math"
	"time"
)

// splitFlags takes the byte apart that holds the bit-fields flags:5 and
// level:3, in this order.
func (s *source) splitFlags(b byte) (Flags, Level) {
	if s.order == binary.BigEndian {
		return Flags(b >> 3), Level(b & 7)
	}
	return Flags(b & 31), Level(b >> 5)
}

// sinceBoot is a ts_nsec. What a clock cannot show is the longest time there is.
func sinceBoot(ns uint64) time.Duration { return time.Duration(min(ns, math.MaxInt64)) }
