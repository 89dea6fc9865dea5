package dcache_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// answer is the JSON of an analysis without its coverage.
func answer(t *testing.T, fs *vfs.FS) string {
	t.Helper()
	r, err := dcache.Analyze(context.Background(), fs, dcache.Options{Entries: -1})
	if err != nil {
		t.Fatal(err)
	}
	if r.Dentries.Total == 0 {
		t.Fatal("the dump has no dentries")
	}
	r.Coverage = kernel.Coverage{}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// difference shows two answers from where they differ on.
func difference(got, want string) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	from := max(0, i-200)
	return fmt.Sprintf("the answer differs:\n…%.400s\nwant\n…%.400s", got[from:], want[from:])
}

// TestSameAnswerInEveryForm: what a dump says does not depend on its format.
func TestSameAnswerInEveryForm(t *testing.T) {
	fs := kerneltest.MainFS(t)
	want := answer(t, fs)
	for _, form := range kerneltest.Forms {
		if testing.Short() && form != "split" && form != "zstd" {
			continue // the fixture itself is zlib, and packing it again is slow
		}
		t.Run(form, func(t *testing.T) {
			files := kerneltest.Rewrite(t, fs.Kernel().Image(), form)
			k := kerneltest.Kernel(t, files...)
			defer func() { _ = k.Image().Close() }()
			other, err := vfs.Open(k)
			if err != nil {
				t.Fatal(err)
			}
			if got := answer(t, other); got != want {
				t.Error(difference(got, want))
			}
		})
	}
}

// TestSameAnswerOfEveryProgram compares the answers from one boot's memory as
// QEMU and makedumpfile wrote it, in each of their formats.
func TestSameAnswerOfEveryProgram(t *testing.T) {
	var want string
	for i, files := range [][]string{
		{"cut/qemu.elf"}, {"cut/elf"}, {"cut/flat"}, {"cut/lzo"}, {"cut/snappy"}, {"cut/raw"},
		{"cut/split1", "cut/split2", "cut/split3"}, {"cut/split3", "cut/split1", "cut/split2"},
	} {
		var paths []string
		for _, name := range files {
			paths = append(paths, fixtures.Unpacked(t, name))
		}
		got := answer(t, kerneltest.FS(t, paths...))
		if i == 0 {
			want = got
		} else if got != want {
			t.Errorf("%v: %s", files, difference(got, want))
		}
	}
}
