package lock_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
)

// unlist takes a task out of the list of tasks, and cuts that behind another one.
func unlist(d *synthetic.Dump, tk, last *synthetic.Task) {
	next, prev := d.Uint64(tk.At("tasks")), d.Uint64(tk.At("tasks")+8)
	d.PutUint64(prev, next)
	d.PutUint64(next+8, prev)
	d.PutUint64(last.At("tasks"), 0xdead000000000100)
}

// TestUnlistedTasks: where the list of tasks breaks, those that waiters and owners lead to
// are found all the same, and nobody is said to be gone.
func TestUnlistedTasks(t *testing.T) {
	for _, kind := range []lock.Kind{lock.Mutex, lock.RWSem} {
		q := newQueue(synthetic.V6_12(), kind)
		p := q.damaged(t, func(d *synthetic.Dump) { unlist(d, q.owner, q.tasks[0]) })
		for i, task := range q.tasks {
			w := p.wait[task.PID]
			if w == nil || uint64(p.Locks[w.Lock].Addr) != q.lock.Addr || w.Position != i || w.Sure != lock.Certain {
				t.Errorf("%s: waiter %d: %+v", kind, i, w)
			}
		}
		if len(p.Holds) != 1 {
			t.Fatalf("%s: %+v", kind, p.Holds)
		}
		h := p.Holds[0]
		if tk := p.Tasks[h.Task]; int(tk.PID) != q.owner.PID || tk.Gone != "" || h.Sure != lock.Likely {
			t.Errorf("%s: held by %+v (%s)", kind, tk, h.Sure)
		}
		if p.Coverage.Complete() {
			t.Errorf("%s: coverage %+v", kind, p.Coverage)
		}
	}
}

// TestUnreadOwner: an owner that cannot be read is not said to be gone while tasks are
// missing, and is where none is.
func TestUnreadOwner(t *testing.T) {
	q := newQueue(synthetic.V6_12(), lock.Mutex)
	away := q.Virt(q.Machine.RAM + 1<<20)
	own := func(d *synthetic.Dump) { d.PutUint64(q.lock.At("owner.counter"), away|1) }
	p := q.damaged(t, func(d *synthetic.Dump) {
		own(d)
		unlist(d, q.owner, q.tasks[0])
	})
	if tk := p.Tasks[p.Holds[0].Task]; !tk.Unread || !strings.Contains(tk.Gone, "may be a live task") || uint64(tk.Addr) != away {
		t.Errorf("tasks are missing: %+v", tk)
	}
	p = q.damaged(t, own)
	if tk := p.Tasks[p.Holds[0].Task]; tk.Unread || !strings.Contains(tk.Gone, "no live task") {
		t.Errorf("no task is missing: %+v", tk)
	}
}

// TestExitedOwner: one that has exited is gone, also while tasks are missing.
func TestExitedOwner(t *testing.T) {
	q := newQueue(synthetic.V6_12(), lock.Mutex)
	p := q.damaged(t, func(d *synthetic.Dump) {
		const exitDead = 16
		d.PutUint64(q.owner.At("exit_state"), exitDead)
		unlist(d, q.owner, q.tasks[0])
	})
	if tk := p.Tasks[p.Holds[0].Task]; tk.Unread || !strings.Contains(tk.Gone, "before it exited") {
		t.Errorf("%+v", tk)
	}
}

// edges are the certain ones of a snapshot, in words, and its owners that are gone. A lock
// goes by its address alone, for what it is a part of may be lost, and the holder of a file
// by its process.
func edges(s *lock.Snapshot) map[string]bool {
	out := map[string]bool{}
	for _, w := range s.Waits {
		if l := &s.Locks[w.Lock]; w.Sure == lock.Certain && l.Addr != 0 {
			out[fmt.Sprintf("%s waits for %s", s.Tasks[w.Task].Addr, l.Addr)] = true
		}
	}
	for _, h := range s.Holds {
		t, l := &s.Tasks[h.Task], &s.Locks[h.Lock]
		switch {
		case t.Unread:
		case t.Gone != "":
			out[fmt.Sprintf("%s is held by %s, gone", l.Addr, t.Addr)] = true
		case h.Sure == lock.Certain:
			out[fmt.Sprintf("%s is held by process %d", l.Addr, t.TGID)] = true
		}
	}
	return out
}

// TestLossMakesNothingSure: what is told for certain of a dump without some of the pages is
// true of the whole one too.
func TestLossMakesNothingSure(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: the locks of two dumps are asked for a dozen times")
	}
	for _, file := range []string{kerneltest.Main, waitsBoot.file} {
		whole := kerneltest.Kernel(t, fixtures.Path(t, file))
		w := &watched{Image: whole.Image(), pages: map[uint64]bool{}}
		want := edges(asked(t, w, whole, func() { w.pages = map[uint64]bool{} }))
		pages := slices.Sorted(maps.Keys(w.pages))
		r := rand.New(rand.NewPCG(9, 10))
		const rounds = 6
		told := 0
		for range rounds {
			d := &damaged{Image: whole.Image(), pages: map[uint64][]byte{}}
			for range 8 {
				d.pages[pages[r.IntN(len(pages))]] = nil
			}
			s := asked(t, d, whole, nil)
			if s == nil {
				continue
			}
			got := edges(s)
			told += len(got)
			for e := range got {
				if !want[e] {
					t.Errorf("%s without %d pages: %s", file, len(d.pages), e)
				}
			}
		}
		if told < len(want)/2 {
			t.Errorf("%s: %d edges in %d rounds, of %d in the whole dump", file, told, rounds, len(want))
		}
	}
}

// TestWithoutModules: without the page tables of the modules' memory, nothing of what is
// in them is known. That is told, and no place on a spinner's own stack is taken for the
// lock.
func TestWithoutModules(t *testing.T) {
	whole := kerneltest.Kernel(t, fixtures.Path(t, waitsBoot.file))
	table, err := whole.Symbol("level2_fixmap_pgt") // beside that of the modules, which are tables of one level
	if err != nil {
		t.Fatal(err)
	}
	phys, _, err := whole.Translate(table)
	if err != nil {
		t.Fatal(err)
	}
	s := asked(t, &damaged{Image: whole.Image(), pages: map[uint64][]byte{phys: nil}}, whole, nil)
	if s == nil {
		t.Fatal("nothing is told")
	}
	if s.Coverage.Complete() {
		t.Error("the loss is not told")
	}
	spinners := 0
	for i := range s.Tasks {
		if s.Tasks[i].Comm != "mw/mutex.spin" {
			continue
		}
		spinners++
		if w := s.WaitOf(i); w != nil {
			t.Errorf("%+v waits for %+v: %+v", s.Tasks[i], s.Locks[w.Lock], w)
		}
	}
	if spinners != 2 {
		t.Errorf("%d spinners", spinners)
	}
}
