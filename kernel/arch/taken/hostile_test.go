package taken_test

import (
	"encoding/binary"
	"testing"

	"github.com/kmortem/mortem/kernel/arch/arm64"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

// TestHostileCode: code that branches and stores at every second instruction is
// followed within bounds, or not at all.
func TestHostileCode(t *testing.T) {
	n := taken.MaxFunction / 16
	if testing.Short() {
		n /= 4
	}
	forward := func(i int) uint32 { return 0xb4000000 | uint32(i*7%900+2)<<5 }          // cbz x0, somewhere ahead
	back := func(i int) uint32 { return 0xb4000000 | uint32(-(i*13%900+1))&0x7ffff<<5 } // or behind
	store := func(i int) uint32 { return 0xf90003e1 | uint32(i%4096)<<10 }              // str x1, [sp, #…]
	for name, code := range map[string]func(i int) uint32{
		"forward": forward, "back": back,
		"loops":  func(i int) uint32 { return []uint32{forward(i), back(i), 0x91000400, 0xaa0003e1}[i%4] },
		"stores": func(i int) uint32 { return []uint32{forward(i), store(i), back(i), store(2 * i)}[i%4] },
		"calls": func(i int) uint32 {
			return []uint32{forward(i), 0x94000000, back(i), 0xaa0003e0 | uint32(i%31)<<16}[i%4]
		},
	} {
		var b []byte
		for i := range n {
			b = binary.LittleEndian.AppendUint32(b, code(i))
		}
		all := func(uint64) []taken.Effect { return []taken.Effect{{Take: true, Tag: 1}} }
		o, ok := taken.Find(arm64.Arch{}, b, 0xffff800000000000, len(b)-64, false, all)
		if ok && (len(o.Taken) > 64 || name == "calls" && len(o.Taken) == 0) {
			t.Errorf("%s: %d things are taken", name, len(o.Taken))
		}
	}
}
