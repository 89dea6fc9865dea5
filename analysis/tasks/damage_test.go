package tasks_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/tasks"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// damaged is a dump of which some pages are others.
type damaged struct {
	dump.Image
	pages map[uint64][]byte // by physical address; nil for one that was left out
}

const pageSize = 4096

func (d *damaged) ReadPhys(buf []byte, addr uint64) (int, error) {
	done := 0
	for done < len(buf) {
		at := addr + uint64(done)
		n := min(len(buf)-done, int(pageSize-at%pageSize))
		b, err := d.ViewPhys(at, n)
		if err != nil {
			return done, err
		}
		done += copy(buf[done:], b)
	}
	return done, nil
}

func (d *damaged) ViewPhys(addr uint64, n int) ([]byte, error) {
	page, ok := d.pages[addr&^(pageSize-1)]
	switch {
	case !ok:
		return d.Image.ViewPhys(addr, n)
	case page == nil:
		return nil, &dump.ReadError{Addr: addr, Kind: dump.ErrExcluded}
	}
	return page[addr%pageSize:][:n], nil
}

// damage makes a dump in which objects at virtual addresses are hurt: a word replaced
// by a number, by another object's address, or by poison, or the page left out.
func damage(t *testing.T, k *kernel.Kernel, at []uint64, r *rand.Rand, times int) *damaged {
	t.Helper()
	d := &damaged{Image: k.Image(), pages: map[uint64][]byte{}}
	for range times {
		const span = 2600 // of what a task_struct has before its registers
		virt := (at[r.IntN(len(at))] + r.Uint64N(span)) &^ 7
		phys, _, err := k.Translate(virt)
		if err != nil {
			t.Fatal(err)
		}
		page := phys &^ (pageSize - 1)
		if d.pages[page] == nil {
			b, err := k.Image().ViewPhys(page, pageSize)
			if err != nil {
				continue
			}
			d.pages[page] = append([]byte(nil), b...)
		}
		word := d.pages[page][phys%pageSize:]
		switch r.IntN(4) {
		case 0:
			binary.LittleEndian.PutUint64(word, r.Uint64())
		case 1:
			binary.LittleEndian.PutUint64(word, at[r.IntN(len(at))]+r.Uint64N(span)&^7)
		case 2:
			binary.LittleEndian.PutUint64(word, 0xdead000000000100)
		default:
			if r.IntN(8) == 0 {
				d.pages[page] = nil
			}
		}
	}
	return d
}

// TestDamage: whatever is wrong with the objects that the answer is made of, it
// comes, in time, and does not claim to be whole where tasks are missing.
func TestDamage(t *testing.T) {
	fs := kerneltest.FS(t, fixtures.Path(t, kerneltest.Main))
	k := fs.Kernel()
	whole := analyze(t, tasks.Options{Queues: true, Long: true})
	var at []uint64
	for i := range whole.Tasks {
		at = append(at, uint64(whole.Tasks[i].Addr))
		if m := whole.Tasks[i].Memory; m != nil {
			at = append(at, uint64(m.MM))
		}
	}
	for _, q := range whole.Queues {
		at = append(at, uint64(q.Addr), uint64(q.Addr)+1000)
	}
	for _, g := range whole.Groups {
		at = append(at, uint64(g.Addr), uint64(g.Queues[0].Addr))
	}
	for seed := range uint64(60) {
		d := damage(t, k, at, rand.New(rand.NewPCG(seed, 7)), 1+int(seed)*4)
		hurt, err := kernel.Open(d, kerneltest.Info(t), kernel.Options{})
		if err != nil {
			continue // init_task itself
		}
		fs, err := vfs.Open(hurt)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		r, err := tasks.Analyze(t.Context(), fs, tasks.Options{Queues: true, Long: true, Files: true, Env: true})
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			continue
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("seed %d took %v", seed, took)
		}
		if len(r.Tasks) < len(whole.Tasks) && r.Coverage.Complete() && len(r.Differences) == 0 {
			t.Errorf("seed %d: %d of %d tasks, and nothing is said to be missing", seed, len(r.Tasks), len(whole.Tasks))
		}
	}
}
