package dump_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
)

// sameBoot compares dumps of one memory, written by QEMU and makedumpfile in
// different formats: every page that a dump has is equal to that of the first,
// and dumps at the same dump level have the same pages.
func sameBoot(t *testing.T, first string, others []string) {
	base := mustOpen(t, []string{first})
	pagesOf := map[int]map[uint64]bool{} // by dump level
	for _, path := range append([]string{first}, others...) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			img := mustOpen(t, []string{path})
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
// format.
func TestGenuineFormats(t *testing.T) {
	for _, boot := range []string{"cut", "firmware"} {
		t.Run(boot, func(t *testing.T) {
			entries, err := os.ReadDir(filepath.Join(fixtures.Dir(t), boot))
			if err != nil {
				t.Skip("not in this checkout: ", err)
			}
			var first string
			var others []string
			for _, e := range entries {
				name, packed := strings.CutSuffix(e.Name(), ".xz")
				if !slices.ContainsFunc([]string{"elf", "kdump", "makedumpfile", "vmcore"}, func(s string) bool { return strings.Contains(name, s) }) {
					continue
				}
				path := fixtures.Path(t, boot+"/"+e.Name())
				if packed {
					path = fixtures.Unpacked(t, boot+"/"+name)
				}
				if name == "vmcore.elf" || name == "elf" {
					first = path
				} else {
					others = append(others, path)
				}
			}
			if first == "" || len(others) == 0 {
				t.Skip("no dumps to compare in this checkout")
			}
			sameBoot(t, first, others)
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
			first := fixtures.OnDemand(t, boot+"/vmcore.elf")
			var others []string
			for _, name := range names {
				others = append(others, fixtures.OnDemand(t, boot+"/"+name))
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
