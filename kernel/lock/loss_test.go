package lock_test

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
	"github.com/kmortem/mortem/kernel/vfs"
)

// watched is an image that notes which pages are read.
type watched struct {
	dump.Image
	mu    sync.Mutex
	pages map[uint64]bool
}

func (w *watched) note(addr uint64, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for page := addr &^ (pageSize - 1); page < addr+uint64(n); page += pageSize {
		w.pages[page] = true
	}
}

func (w *watched) ReadPhys(buf []byte, addr uint64) (int, error) {
	w.note(addr, len(buf))
	return w.Image.ReadPhys(buf, addr)
}

func (w *watched) ViewPhys(addr uint64, n int) ([]byte, error) {
	w.note(addr, n)
	return w.Image.ViewPhys(addr, n)
}

// asked is what a kernel answers, nil where it is beyond use; before the locks are
// looked for, ready is called.
func asked(t *testing.T, image dump.Image, whole *kernel.Kernel, ready func()) *lock.Snapshot {
	t.Helper()
	k, err := kernel.Open(image, whole.Info(), kernel.Options{})
	if err != nil {
		return nil
	}
	modules, err := module.Attach(k)
	if err != nil {
		return nil
	}
	tracer, err := unwind.New(k, modules)
	if err != nil {
		return nil
	}
	tasks, err := task.New(k)
	if err != nil {
		return nil
	}
	fs, err := vfs.Open(k)
	if err != nil {
		return nil
	}
	r, err := lock.Open(k, tasks, tracer, fs)
	if err != nil {
		return nil
	}
	if ready != nil {
		ready()
	}
	s, err := r.Snapshot(context.Background(), lock.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLossIsNeverSilent: when a page that the answer was read from is not in the dump, the
// answer is the same as before or says that something could not be read.
func TestLossIsNeverSilent(t *testing.T) {
	whole := kerneltest.Kernel(t, fixtures.Path(t, waitsBoot.file))
	w := &watched{Image: whole.Image(), pages: map[uint64]bool{}}
	text := func(s *lock.Snapshot) string {
		c := *s
		c.Coverage = kernel.Coverage{}
		b, err := json.Marshal(&c)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := asked(t, w, whole, func() { w.pages = map[uint64]bool{} })
	want := text(before)
	pages := slices.Sorted(maps.Keys(w.pages))
	r := rand.New(rand.NewPCG(5, 6))
	r.Shuffle(len(pages), func(i, j int) { pages[i], pages[j] = pages[j], pages[i] })
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	lost := 0
	for _, page := range pages[:min(rounds, len(pages))] {
		d := &damaged{Image: whole.Image(), pages: map[uint64][]byte{page: nil}}
		s := asked(t, d, whole, nil)
		if s == nil || !s.Coverage.Complete() {
			lost++
			continue
		}
		if got := text(s); got != want {
			i := 0
			for i < len(got) && i < len(want) && got[i] == want[i] {
				i++
			}
			t.Errorf("without the page at %#x: %s, and not %s", page, got[max(i-200, 0):min(i+200, len(got))], want[max(i-200, 0):min(i+200, len(want))])
		}
	}
	if lost == 0 {
		t.Errorf("no loss of %d pages was told", rounds)
	}
	t.Logf("%d pages were read, %d losses of %d were told", len(pages), lost, min(rounds, len(pages)))
}
