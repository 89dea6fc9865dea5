package dump_test

import (
	"bytes"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures"
)

// TestFixtureRaw writes the memory of a captured dump, which is packed as a
// whole, into the formats of raw images, and finds in each of them the same
// pages and, by a search, the same VMCOREINFO as the dump's headers have.
func TestFixtureRaw(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: the memory of a whole guest is written in four formats")
	}
	captured := mustOpen(t, []string{fixtures.Path(t, "kdump/vmcore.kdump.xz")}, dump.WithCacheDir(t.TempDir()))
	want := captured.Facts()
	mem := dumpwriter.PageMap{}
	err := captured.Sweep(t.Context(), 1, func(_ int, p dump.Page) error {
		mem[p.Addr/4096] = bytes.Clone(p.Data)
		return p.Err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(w io.WriterAt) error{
		"x.lime": func(w io.WriterAt) error { return dumpwriter.LiME(w, mem, dumpwriter.Config{}) },
		"x.avml": func(w io.WriterAt) error { return dumpwriter.AVML(w, mem, dumpwriter.Config{}) },
		"x.vmss": func(w io.WriterAt) error { return dumpwriter.VMware(w, nil, mem, nil, true, dumpwriter.Config{}) },
		"x.elf":  func(w io.WriterAt) error { return dumpwriter.ELF(w, mem, dumpwriter.Config{}) },
	} {
		t.Run(name, func(t *testing.T) {
			var b dumpwriter.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), name)
			put(t, path, b.Bytes())
			img := mustOpen(t, []string{path})
			f := img.Facts()
			if f.VMCoreInfo == nil || strings.TrimRight(f.VMCoreInfo.Raw, "\n") != strings.TrimRight(want.VMCoreInfo.Raw, "\n") {
				t.Errorf("the VMCOREINFO found is not that of the headers")
			}
			if f.Arch != want.Arch || f.Uts != want.Uts || !f.Time.Equal(want.Time) || len(f.Warnings) > 0 {
				t.Errorf("%q of %+v at %v, %q; the headers: %q of %+v at %v", f.Arch, f.Uts, f.Time, f.Warnings, want.Arch, want.Uts, want.Time)
			}
			if !slices.Contains(f.Variant, "VMCOREINFO found in memory") {
				t.Errorf("variant %q", f.Variant)
			}
			missing := 0
			err := captured.Sweep(t.Context(), 1, func(_ int, p dump.Page) error {
				view, err := img.ViewPhys(p.Addr, len(p.Data))
				switch {
				case err != nil && len(bytes.TrimLeft(p.Data, "\x00")) == 0:
					missing++ // avml leaves out blocks of zeros
				case err != nil:
					return err
				case !bytes.Equal(view, p.Data):
					t.Errorf("page %#x differs", p.Addr)
				}
				return nil
			})
			if err != nil || missing > 0 && name != "x.avml" {
				t.Errorf("%d pages are missing, %v", missing, err)
			}
		})
	}
}
