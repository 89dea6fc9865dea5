package dump_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
)

// sameBoot compares dumps of one memory, written by QEMU and makedumpfile in
// different formats: every page that a dump has is equal to that of the first,
// and dumps at the same dump level have the same pages.
func sameBoot(t *testing.T, first []string, others [][]string) {
	base := mustOpen(t, first)
	pagesOf := map[int]map[uint64]bool{} // by dump level
	for _, files := range append([][]string{first}, others...) {
		t.Run(filepath.Base(files[0]), func(t *testing.T) {
			img := mustOpen(t, files)
			f := img.Facts()
			if f.Arch == dump.ArchX86_64 && f.Incomplete || len(f.Warnings) > 0 {
				t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
			}
			if b := base.Facts(); len(f.CPUs) != len(b.CPUs) || rawInfo(f) != rawInfo(b) {
				t.Errorf("%d CPUs, VMCOREINFO %q", len(f.CPUs), rawInfo(f))
			}
			pages := comparePages(t, img, base)
			if f.Format != dump.FormatKdump {
				return // ELF files leave out fewer pages: only where many are in a row
			}
			if want := pagesOf[f.DumpLevel]; want == nil {
				pagesOf[f.DumpLevel] = pages
			} else if len(pages) != len(want) {
				t.Errorf("%d pages, another dump at level %d has %d", len(pages), f.DumpLevel, len(want))
			}
		})
	}
}

// comparePages looks at every page in three ways.
func comparePages(t *testing.T, img, base dump.Image) map[uint64]bool {
	t.Helper()
	pages := map[uint64]bool{}
	buf, want := make([]byte, 4096), make([]byte, 4096)
	err := img.Sweep(t.Context(), 1, func(_ int, p dump.Page) error {
		if p.Err != nil {
			return p.Err
		}
		pages[p.Addr] = true
		n := len(p.Data)
		if _, err := base.ReadPhys(want[:n], p.Addr); err != nil {
			return err
		}
		_, readErr := img.ReadPhys(buf[:n], p.Addr)
		view, viewErr := img.ViewPhys(p.Addr, n)
		if err := errors.Join(readErr, viewErr); err != nil {
			return err
		}
		if !bytes.Equal(p.Data, want[:n]) || !bytes.Equal(buf[:n], want[:n]) || !bytes.Equal(view, want[:n]) {
			t.Errorf("page %#x differs", p.Addr)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return pages
}

// TestGenuineFormats goes through the committed dumps of one memory in every
// format, the one with the most pages first.
func TestGenuineFormats(t *testing.T) {
	for boot, dumps := range map[string][][]string{
		"cut": {{"qemu.elf"}, {"elf"}, {"flat"}, {"lzo"}, {"raw"}, {"snappy"},
			{"split1", "split2", "split3"}, {"split3", "split1", "split2"}},
		"firmware": {{"elf"}, {"kdump"}},
	} {
		t.Run(boot, func(t *testing.T) {
			var files [][]string
			for _, names := range dumps {
				var paths []string
				for _, name := range names {
					paths = append(paths, fixtures.Unpacked(t, boot+"/"+name))
				}
				files = append(files, paths)
			}
			sameBoot(t, files[0], files[1:])
		})
	}
}

// TestGenuineFormatsOnDemand does so with the large dumps that fixtures/capture
// makes.
func TestGenuineFormatsOnDemand(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("reads a gigabyte")
	}
	for boot, names := range map[string][]string{
		"main": {"vmcore.qemu-kdump", "makedumpfile.lzo"},
		"small": {"vmcore.fixed.elf", "vmcore.qemu-kdump", "makedumpfile.zlib", "makedumpfile.lzo", "makedumpfile.snappy",
			"makedumpfile.zstd", "makedumpfile.raw", "makedumpfile.flat", "makedumpfile.split3", "makedumpfile.elf"},
	} {
		t.Run(boot, func(t *testing.T) {
			first := []string{fixtures.OnDemand(t, boot+"/vmcore.elf")}
			var others [][]string
			for _, name := range names {
				others = append(others, []string{fixtures.OnDemand(t, boot+"/"+name)})
			}
			sameBoot(t, first, others)
		})
	}
}

func rawInfo(f *dump.Facts) string {
	if f.VMCoreInfo == nil {
		return ""
	}
	return f.VMCoreInfo.Raw
}
