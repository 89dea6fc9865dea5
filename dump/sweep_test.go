package dump_test

import (
	"context"
	"errors"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// sweepable are dumps of the same memory whose sweeps go different ways.
func sweepable(t *testing.T) map[string]dump.Image {
	mem := testMachine(4096)
	return map[string]dump.Image{
		"elf":   mustOpen(t, []string{file(t, build(t, dumpwriter.ELF, mem, testConfig(4096)))}),
		"kdump": mustOpen(t, []string{file(t, build(t, dumpwriter.Kdump, mem, zlibConfig()))}),
	}
}

// TestSweepEnds: an error of the callback or of the context ends a sweep and
// comes back.
func TestSweepEnds(t *testing.T) {
	mine := errors.New("enough")
	for name, img := range sweepable(t) {
		for _, workers := range []int{0, 1, 4} {
			seen := make([]int, max(1, workers))
			err := img.Sweep(t.Context(), workers, func(w int, p dump.Page) error {
				if seen[w]++; seen[w] == 3 {
					return mine
				}
				return nil
			})
			if err != mine {
				t.Errorf("%s, %d workers: %v", name, workers, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := img.Sweep(ctx, workers, func(int, dump.Page) error { return nil }); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, %d workers, canceled: %v", name, workers, err)
			}
		}
	}
}

// TestVerifyEnds: an error of the report ends Verify.
func TestVerifyEnds(t *testing.T) {
	mem := testMachine(4096)
	data := build(t, dumpwriter.Kdump, mem, zlibConfig())
	at := findPlaces(data, 4096, len(presentPages(mem)))
	for i := at.data; i < len(data); i += 50 {
		data[i] ^= 0x55
	}
	img := mustOpen(t, []string{file(t, data)})
	mine := errors.New("enough")
	n := 0
	_, err := dump.Verify(t.Context(), img, 3, func(*dump.ReadError) error {
		if n++; n == 5 {
			return mine
		}
		return nil
	})
	if err != mine || n != 5 {
		t.Errorf("%v after %d reports", err, n)
	}
	st, err := dump.Verify(t.Context(), img, 3, nil)
	if err != nil || st.Damaged < 5 {
		t.Errorf("%+v, %v", st, err)
	}
}
