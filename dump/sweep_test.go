package dump_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
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
	_, err := dump.Verify(t.Context(), img, dump.VerifyOptions{Workers: 3, Report: func(*dump.ReadError) error {
		if n++; n == 5 {
			return mine
		}
		return nil
	}})
	if err != mine || n != 5 {
		t.Errorf("%v after %d reports", err, n)
	}
	st, err := dump.Verify(t.Context(), img, dump.VerifyOptions{Workers: 3})
	if err != nil || st.Damaged < 5 {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestVerifyProgress: the pages told about never exceed those that there are, and
// nearly all are told.
func TestVerifyProgress(t *testing.T) {
	mem := dumpwriter.PageMap{}
	for pfn := range uint64(6000) {
		mem[pfn] = bytes.Repeat([]byte{byte(pfn), 1}, 2048)
	}
	img := mustOpen(t, []string{file(t, build(t, dumpwriter.Kdump, mem, testConfig(4096)))})
	var calls, last atomic.Uint64
	_, err := dump.Verify(t.Context(), img, dump.VerifyOptions{Workers: 2, Progress: func(done, total uint64) {
		if done > total || total != 6000 {
			t.Errorf("%d of %d", done, total)
		}
		calls.Add(1)
		last.Store(max(last.Load(), done))
	}})
	if err != nil || calls.Load() < 4 || last.Load() < 4096 {
		t.Errorf("%d calls, the last one with %d pages; %v", calls.Load(), last.Load(), err)
	}
}
