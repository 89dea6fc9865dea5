//go:build linux || darwin || freebsd

package dump_test

import (
	"errors"
	"os"
	"sync/atomic"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// TestCutWhileOpen cuts a mapped dump short while it is open. Whoever touches
// what is gone gets an error, not the signal.
func TestCutWhileOpen(t *testing.T) {
	mem := testMachine(4096)
	for name, write := range map[string]struct {
		data  []byte
		views bool // whether views lie in the mapping
	}{
		"elf":        {build(t, dumpwriter.ELF, mem, testConfig(4096)), true},
		"kdump raw":  {build(t, dumpwriter.Kdump, mem, testConfig(4096)), true},
		"flattened":  {flattened(t, dumpwriter.ELF, mem, testConfig(4096)), false},
		"kdump zlib": {build(t, dumpwriter.Kdump, mem, zlibConfig()), false},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, write.data)
			img := mustOpen(t, []string{path})
			const last = 699 * 4096
			view, err := img.ViewPhys(last, 64)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 8192); err != nil {
				t.Fatal(err)
			}
			if write.views {
				err = dump.Guard(func() error {
					if view[5] == 77 {
						return errors.New("unlikely")
					}
					return nil
				})
				var re *dump.ReadError
				if !errors.Is(err, dump.ErrMissing) || !errors.As(err, &re) || re.File != path {
					t.Errorf("touching a view: %v", err)
				}
			}
			buf := make([]byte, 4096)
			if _, err := img.ReadPhys(buf, 690*4096); !errors.Is(err, dump.ErrMissing) {
				t.Errorf("read: %v", err)
			}
			var bad atomic.Int64 // pages of both workers
			err = img.Sweep(t.Context(), 2, func(_ int, p dump.Page) error {
				if p.Err != nil {
					if !errors.Is(p.Err, dump.ErrMissing) || p.Data != nil {
						return p.Err
					}
					bad.Add(1)
					return nil
				}
				if p.Data[100] == 77 {
					return errors.New("unlikely")
				}
				return nil
			})
			if err != nil && !errors.Is(err, dump.ErrMissing) {
				t.Errorf("sweep: %v", err)
			}
			if err == nil && bad.Load() == 0 {
				t.Error("the sweep noticed nothing")
			}
			if _, err := dump.Stat(t.Context(), img); err != nil && !errors.Is(err, dump.ErrMissing) {
				t.Error(err)
			}
			for range img.Ranges() { // may end early, must not crash
			}
		})
	}
}

// TestGuardOthers: panics that are none of ours go through.
func TestGuardOthers(t *testing.T) {
	for name, fn := range map[string]func() error{
		"panic": func() error { panic("mine") },
		"nil pointer": func() error {
			var p *int
			*p = 1
			return nil
		},
		"index": func() error {
			var s []int
			_ = s[len(os.Args)]
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("the panic was lost")
				}
			}()
			t.Error(dump.Guard(fn))
		})
	}
	mine := errors.New("mine")
	if err := dump.Guard(func() error { return mine }); err != mine {
		t.Error(err)
	}
}
