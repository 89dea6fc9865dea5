package dump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// container is a way to store a dump in files, of which one is damaged.
type container struct {
	name   string
	kdump  bool
	write  func(t *testing.T, mem dumpwriter.Memory, cfg dumpwriter.Config) [][]byte
	victim int // the file that is damaged
}

var containers = []container{
	{"elf", false, func(t *testing.T, mem dumpwriter.Memory, cfg dumpwriter.Config) [][]byte {
		return [][]byte{build(t, dumpwriter.ELF, mem, cfg)}
	}, 0},
	{"flattened elf", false, func(t *testing.T, mem dumpwriter.Memory, cfg dumpwriter.Config) [][]byte {
		return [][]byte{flattened(t, dumpwriter.ELF, mem, cfg)}
	}, 0},
	{"kdump", true, func(t *testing.T, mem dumpwriter.Memory, cfg dumpwriter.Config) [][]byte {
		return [][]byte{build(t, dumpwriter.Kdump, mem, cfg)}
	}, 0},
	{"flattened kdump", true, func(t *testing.T, mem dumpwriter.Memory, cfg dumpwriter.Config) [][]byte {
		return [][]byte{headersFirst(t, flattened(t, dumpwriter.Kdump, mem, cfg))}
	}, 0},
	{"split kdump", true, func(t *testing.T, mem dumpwriter.Memory, cfg dumpwriter.Config) [][]byte {
		return splitFiles(t, mem, cfg, 3, false)
	}, 1},
	{"split flattened kdump", true, func(t *testing.T, mem dumpwriter.Memory, cfg dumpwriter.Config) [][]byte {
		files := splitFiles(t, mem, cfg, 3, true)
		for i := range files {
			files[i] = headersFirst(t, files[i])
		}
		return files
	}, 2},
}

// matrixMachines are word width, byte order and header version.
var matrixMachines = []struct {
	name    string
	bits    int
	big     bool
	version int
}{
	{"x86_64", 64, false, 6},
	{"i686", 32, false, 3},
	{"s390x", 64, true, 5},
	{"ppc", 32, true, 2},
}

// TestDamageMatrix damages every container of every codec on machines of each
// word width and byte order, and holds what is read to laws that need no
// knowledge of the place that was hit: see checkCut and checkFlip.
func TestDamageMatrix(t *testing.T) {
	mem := testMachine(4096)
	random := rand.New(rand.NewPCG(7, 11))
	for i, c := range containers {
		codecs := testCodecs()
		if !c.kdump {
			codecs = codecs[:1]
		}
		for j, codec := range codecs {
			for k, m := range matrixMachines {
				if c.kdump && (i+j+k)%2 != 0 && !(codec == dumpwriter.Zlib && k == 0) {
					continue // half of them do
				}
				cfg := testConfig(4096)
				cfg.Codec, cfg.Bits, cfg.Version, cfg.Uts.Machine = dumpwriter.All(codec), m.bits, m.version, m.name
				cfg.Order = binary.ByteOrder(binary.LittleEndian)
				if m.big {
					cfg.Order = binary.BigEndian
				}
				t.Run(fmt.Sprintf("%s/%s/%s", c.name, codec, m.name), func(t *testing.T) {
					d := damager{container: c, files: c.write(t, mem, cfg), mem: mem, all: len(presentPages(mem)), checked: codec == dumpwriter.Zlib}
					d.run(t, random)
				})
			}
		}
	}
}

// damager damages one dump in many ways.
type damager struct {
	container
	files   [][]byte
	mem     dumpwriter.PageMap
	all     int  // pages
	checked bool // whether pages carry checksums
}

func (d *damager) run(t *testing.T, random *rand.Rand) {
	victim := d.files[d.victim]
	n := len(victim)
	for _, size := range []int{17, 4095, 4097, 5000, 8192, 12288 + 100, n / 16, n / 4, n / 2, n - n/8, n - 1} {
		d.checkCut(t, size)
	}
	for i := range 14 {
		at := random.IntN(n)
		if i < 8 && d.kdump {
			at = random.IntN(min(n, 7*4096)) // headers, bitmaps and descriptors
		}
		bit := byte(1 << random.IntN(8))
		if testing.Short() && i%4 != 0 {
			continue
		}
		d.checkFlip(t, at, bit)
	}
}

// open opens the dump with its victim changed.
func (d *damager) open(t *testing.T, change func([]byte) []byte) (dump.Image, error) {
	t.Helper()
	var paths []string
	dir := t.TempDir()
	for i, data := range d.files {
		if i == d.victim {
			data = change(bytes.Clone(data))
		}
		path := fmt.Sprintf("%s/part%c.dump", dir, 'a'+i)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	img, err := dump.Open(paths, dump.WithoutScan())
	if err != nil {
		var fe *dump.FileError
		if !errors.As(err, &fe) || fe.Kind == nil {
			t.Errorf("opening: %v", err)
		}
		return nil, err
	}
	return img, nil
}

// checkCut cuts a file: the dump is refused, or it says that it is incomplete,
// and then every page is right or missing, never damaged, never wrong.
func (d *damager) checkCut(t *testing.T, size int) {
	t.Helper()
	img, err := d.open(t, func(b []byte) []byte { return b[:size] })
	if err != nil {
		return
	}
	defer img.Close()
	o := readPages(t, img, d.mem, 4096)
	if f := img.Facts(); !f.Incomplete || len(f.Warnings) == 0 || o.wrong > 0 || o.corrupt > 0 || o.good+o.missing != d.all {
		t.Errorf("cut to %d bytes: %+v of %d, incomplete %v, warnings %q", size, o, d.all, f.Incomplete, f.Warnings)
	}
}

// checkFlip flips a bit: the dump is refused; or a warning says that something
// is wrong; or at most one page is hit, that of zeros which many share being one,
// and without an error only where nothing guards it.
func (d *damager) checkFlip(t *testing.T, at int, bit byte) {
	t.Helper()
	img, err := d.open(t, func(b []byte) []byte { b[at] ^= bit; return b })
	if err != nil {
		return
	}
	defer img.Close()
	if len(img.Facts().Warnings) > 0 {
		return
	}
	if !d.kdump && at < 3*4096 {
		return // a segment's address is guarded by nothing
	}
	hit, unnoticed := d.hits(img)
	if hit > 1 || d.checked && unnoticed > 0 {
		t.Errorf("bit %#x at %#x: %d pages hit, %d of those with checksums without an error", bit, at, hit, unnoticed)
	}
}

// hits counts the pages that are not as they should be, all that are zeros as
// one, and those that are packed, and so guarded by zlib's checksum, but wrong.
func (d *damager) hits(img dump.Image) (hit, unnoticed int) {
	buf, want := make([]byte, 4096), make([]byte, 4096)
	zeros := 0
	for pfn := range d.mem.Pages() {
		if d.mem.State(pfn) != dumpwriter.Present || d.mem.Read(pfn, want) != nil {
			continue
		}
		_, err := img.ReadPhys(buf, pfn*4096)
		isRandom := pfn%11 == 2 // see testMachine; such pages do not shrink, and are stored as they are
		switch {
		case err == nil && bytes.Equal(buf, want):
		case bytes.Count(want, []byte{0}) == len(want):
			zeros = 1
		default:
			hit++
			if err == nil && !isRandom {
				unnoticed++
			}
		}
	}
	return hit + zeros, unnoticed
}
