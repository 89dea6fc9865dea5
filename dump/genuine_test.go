package dump_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
)

// sameBoot compares dumps of one memory, written by QEMU and makedumpfile in
// different formats: every page that a dump has is equal to that of the first,
// and dumps at the same dump level have the same pages.
func sameBoot(t *testing.T, first []string, others ...[]string) {
	base := mustOpen(t, first)
	level := map[int]int{} // pages by dump level
	for _, paths := range append([][]string{first}, others...) {
		t.Run(filepath.Base(paths[0]), func(t *testing.T) {
			img := mustOpen(t, paths)
			f := img.Facts()
			if f.Incomplete || len(f.Warnings) > 0 {
				t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
			}
			if b := base.Facts(); len(f.CPUs) != len(b.CPUs) || rawInfo(f) != rawInfo(b) {
				t.Errorf("%d CPUs, VMCOREINFO %q", len(f.CPUs), rawInfo(f))
			}
			pages := comparePages(t, img, base)
			if f.Format != dump.FormatKdump {
				return // ELF files leave out fewer pages: only where many are in a row
			}
			if want, ok := level[f.DumpLevel]; ok && pages != want {
				t.Errorf("%d pages, another dump at level %d has %d", pages, f.DumpLevel, want)
			}
			level[f.DumpLevel] = pages
		})
	}
}

// comparePages looks at every page in three ways, and counts them.
func comparePages(t *testing.T, img, base dump.Image) (pages int) {
	t.Helper()
	buf, want := make([]byte, 4096), make([]byte, 4096)
	err := img.Sweep(t.Context(), 1, func(_ int, p dump.Page) error {
		if p.Err != nil {
			return p.Err
		}
		pages++
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
// format. QEMU's has all pages.
func TestGenuineFormats(t *testing.T) {
	get := func(boot string, names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, fixtures.Unpacked(t, boot+"/"+name))
		}
		return paths
	}
	t.Run("cut", func(t *testing.T) {
		sameBoot(t, get("cut", "qemu.elf"), get("cut", "elf"), get("cut", "raw"), get("cut", "flat"), get("cut", "lzo"),
			get("cut", "snappy"), get("cut", "split3", "split1", "split2"))
	})
	t.Run("firmware", func(t *testing.T) {
		sameBoot(t, get("firmware", "elf"), get("firmware", "kdump"))
	})
}

// TestGenuineFormatsOnDemand does so with the large dumps that fixtures/capture
// makes.
func TestGenuineFormatsOnDemand(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("short run: a gigabyte is read")
	}
	for boot, names := range map[string][]string{
		"main": {"vmcore.qemu-kdump", "makedumpfile.lzo"},
		"small": {"vmcore.fixed.elf", "vmcore.qemu-kdump", "makedumpfile.zlib", "makedumpfile.lzo", "makedumpfile.snappy",
			"makedumpfile.zstd", "makedumpfile.raw", "makedumpfile.flat", "makedumpfile.split3", "makedumpfile.elf"},
	} {
		t.Run(boot, func(t *testing.T) {
			first := fixtures.OnDemand(t, boot+"/vmcore.elf")
			var others [][]string
			for _, name := range names {
				others = append(others, []string{fixtures.OnDemand(t, boot+"/"+name)})
			}
			sameBoot(t, []string{first}, others...)
		})
	}
}

// TestGenuineFacts compares what dumps say about their machines with what the
// machines said themselves.
func TestGenuineFacts(t *testing.T) {
	for _, test := range []struct {
		boot string
		path string
	}{
		{"main", fixtures.Path(t, "main/vmcore.kdump")},
		{"small", fixtures.Unpacked(t, "cut/lzo")},
		{"small", fixtures.Unpacked(t, "cut/qemu.elf")},
		{"kdump", fixtures.Unpacked(t, "kdump/vmcore.kdump")},
	} {
		t.Run(filepath.Base(test.path), func(t *testing.T) {
			img := mustOpen(t, []string{test.path})
			f := img.Facts()
			truth := fixtures.Truth(t, test.boot)
			if release := truth.Uname["release"]; f.Uts.Release != release {
				t.Errorf("release %q, the machine says %q", f.Uts.Release, release)
			}
			if name := truth.Uname["nodename"]; f.Format == dump.FormatKdump && f.Uts.Nodename != name {
				t.Errorf("name %q, the machine says %q", f.Uts.Nodename, name)
			}
			if len(f.CPUs) != truth.CPUs || string(f.Arch) != truth.Uname["machine"] {
				t.Errorf("%d CPUs of %s, the machine says %d of %s", len(f.CPUs), f.Arch, truth.CPUs, truth.Uname["machine"])
			}
			for _, name := range []string{"init_uts_ns", "_stext"} {
				want, err := strconv.ParseUint(truth.Symbols[name], 16, 64)
				if got, ok := f.VMCoreInfo.Symbol(name); err != nil || !ok || got != want {
					t.Errorf("%s at %#x, the machine says %#x", name, got, want)
				}
			}
			if test.boot == "kdump" {
				if d := float64(f.Time.Unix()) - truth.Time; d < -2 || d > 600 {
					t.Errorf("taken at %v, %v seconds after the machine's last word", f.Time, d)
				}
				return
			}
			checkRegisters(t, f, fixtures.Path(t, test.boot+"/registers.txt"))
		})
	}
}

// checkRegisters compares with what QEMU printed while the machine stood still.
func checkRegisters(t *testing.T, f *dump.Facts, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	value := regexp.MustCompile(`\b([A-Z0-9]{2,3}) ?=([0-9a-f]{8,16})\b`)
	compared := 0
	for i, part := range strings.Split(string(text), "CPU#")[1:] {
		for _, m := range value.FindAllStringSubmatch(part, -1) {
			name := strings.ToLower(m[1])
			if len(name) == 3 && name[0] == 'r' && (name[1] < '0' || name[1] > '9') {
				name = name[1:] // rax is ax in struct pt_regs
			}
			name = map[string]string{"fl": "flags"}[name] + strings.TrimPrefix(name, "fl")
			want, err := strconv.ParseUint(m[2], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := f.CPUs[i].Register(name); ok {
				compared++
				if got != want {
					t.Errorf("CPU %d: %s is %#x, QEMU says %#x", i, name, got, want)
				}
			}
		}
	}
	if compared < 20*len(f.CPUs) {
		t.Errorf("only %d registers compared", compared)
	}
}

func rawInfo(f *dump.Facts) string {
	if f.VMCoreInfo == nil {
		return ""
	}
	return f.VMCoreInfo.Raw
}
