package dcache_test

import (
	"encoding/json"
	"testing"

	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// answer is the JSON of an analysis without its coverage.
func answer(t *testing.T, fs *vfs.FS) string {
	t.Helper()
	r := analyze(t, fs, dcache.Options{Entries: -1})
	r.Coverage = kernel.Coverage{}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSameAnswerInEveryForm: what a dump says does not depend on its format.
func TestSameAnswerInEveryForm(t *testing.T) {
	fs := kerneltest.MainFS(t)
	want := answer(t, fs)
	for _, form := range kerneltest.Forms {
		t.Run(form, func(t *testing.T) {
			files := kerneltest.Rewrite(t, fs.Kernel().Image(), form)
			k := kerneltest.Kernel(t, files...)
			defer func() { _ = k.Image().Close() }()
			other, err := vfs.Open(k)
			if err != nil {
				t.Fatal(err)
			}
			if got := answer(t, other); got != want {
				t.Errorf("the answer differs:\n%.2000s\nwant\n%.2000s", got, want)
			}
		})
	}
}
