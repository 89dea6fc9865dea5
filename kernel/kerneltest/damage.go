package kerneltest

import (
	"math/rand/v2"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
)

// Damage makes a dump in which objects at virtual addresses, of span bytes each,
// are hurt: a word replaced by a number, by another object's address, or by poison,
// or the page left out.
func Damage(t testing.TB, k *kernel.Kernel, at []uint64, span uint64, r *rand.Rand, times int) dump.Image {
	t.Helper()
	o := OverlayOn(t, k)
	for range times {
		virt := (at[r.IntN(len(at))] + r.Uint64N(span)) &^ 7
		if _, _, err := k.Translate(virt); err != nil {
			continue
		}
		switch r.IntN(4) {
		case 0:
			o.PutUint64(virt, r.Uint64())
		case 1:
			o.PutUint64(virt, at[r.IntN(len(at))]+r.Uint64N(span)&^7)
		case 2:
			o.PutUint64(virt, 0xdead000000000100)
		default:
			if r.IntN(8) == 0 {
				o.Exclude(virt)
			}
		}
	}
	return o
}
