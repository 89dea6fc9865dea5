package kerneltest

import (
	"io"
	"os"
	"path/filepath"
	"sort"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// The forms that Rewrite can give a dump.
var Forms = []string{"elf", "raw", "zlib", "lzo", "snappy", "zstd", "flattened", "split"}

// Rewrite writes a dump in another form into the test's temporary folder, and
// returns the files. What is not in the dump is excluded from the new one.
func Rewrite(t testing.TB, image dump.Image, form string) []string {
	t.Helper()
	mem := memoryOf(image)
	cfg := dumpwriter.Config{Version: 6, VMCoreInfo: image.Facts().VMCoreInfo.Raw, DumpLevel: 31}
	dir := t.TempDir()
	var files []string
	var writers []io.WriterAt
	create := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() }) // the reader has seen all of it
		files, writers = append(files, f.Name()), append(writers, f)
		return f
	}
	var err error
	switch form {
	case "elf":
		err = dumpwriter.ELF(create(form), mem, cfg)
	case "flattened":
		cfg.Codec = dumpwriter.All(dumpwriter.Zlib)
		flat := dumpwriter.NewFlattener(create(form))
		if err = dumpwriter.Kdump(flat, mem, cfg); err == nil {
			err = flat.Close()
		}
	case "split":
		cfg.Codec = dumpwriter.Mix(dumpwriter.Zlib, dumpwriter.LZO, dumpwriter.Raw)
		for _, name := range []string{"split.1", "split.2", "split.3"} {
			create(name)
		}
		err = dumpwriter.Split(writers, mem, cfg)
	default:
		cfg.Codec = dumpwriter.All(dumpwriter.Codec(form))
		err = dumpwriter.Kdump(create(form), mem, cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// memory is a dump as the memory of a machine to be dumped.
type memory struct {
	image  dump.Image
	ranges []dump.Range
	size   uint64
}

func memoryOf(image dump.Image) *memory {
	m := &memory{image: image, size: image.Facts().PageSize}
	for r := range image.Ranges() {
		m.ranges = append(m.ranges, r)
	}
	return m
}

func (m *memory) Pages() uint64 { return m.image.Facts().MaxPhys / m.size }

func (m *memory) State(pfn uint64) dumpwriter.State {
	addr := pfn * m.size
	i := sort.Search(len(m.ranges), func(i int) bool { return m.ranges[i].End > addr })
	if i < len(m.ranges) && m.ranges[i].Start <= addr {
		return dumpwriter.Present
	}
	return dumpwriter.Excluded
}

func (m *memory) Read(pfn uint64, page []byte) error {
	_, err := m.image.ReadPhys(page, pfn*m.size)
	return err
}
