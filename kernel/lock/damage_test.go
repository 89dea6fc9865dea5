package lock_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// queue is a lock with an owner and three waiters in a synthetic kernel.
type queue struct {
	*machine
	lock    synthetic.Object
	owner   *synthetic.Task
	tasks   []*synthetic.Task
	waiters []synthetic.Object
}

func newQueue(l *synthetic.Layout, kind lock.Kind) *queue {
	q := &queue{machine: newMachine(l, 1)}
	q.lock = q.ObjectAt(tags[kind], q.Virt(q.AllocPages(0))) // on a page of its own
	q.owner = q.sleeper("owner")
	for range 3 {
		t, w := q.waiter("waiter", kind, q.lock.Addr, lock.Write)
		q.tasks, q.waiters = append(q.tasks, t), append(q.waiters, w)
	}
	q.link(q.lock, q.waiters)
	q.own(q.lock, kind, q.owner, 3)
	return q
}

func (q *queue) damaged(t *testing.T, damage func(*synthetic.Dump)) picture {
	t.Helper()
	d := q.Dump()
	damage(d)
	image, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	info, err := q.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return byThread(snapshot(t, k, lock.Options{}))
}

// TestBrokenList: a list of waiters that leads into excluded memory gives what lies
// on both sides of it, and says so.
func TestBrokenList(t *testing.T) {
	for _, kind := range []lock.Kind{lock.Mutex, lock.RWSem, lock.Semaphore} {
		q := newQueue(synthetic.V6_12(), kind)
		p := q.damaged(t, func(d *synthetic.Dump) { d.Exclude(q.waiters[1].Addr) })
		for _, i := range []int{0, 2} {
			w := p.wait[q.tasks[i].PID]
			if w == nil {
				t.Errorf("%s: waiter %d was not found", kind, i)
				continue
			}
			l := p.Locks[w.Lock]
			if uint64(l.Addr) != q.lock.Addr || l.Broken == "" || w.Position != -1 {
				t.Errorf("%s: waiter %d: %+v %+v", kind, i, l, w)
			}
		}
		if p.Coverage.Complete() || p.Coverage.Excluded == 0 {
			t.Errorf("%s: coverage %+v", kind, p.Coverage)
		}
		found := false
		for _, u := range p.Unexplained {
			found = found || int(p.Tasks[u.Task].PID) == q.tasks[1].PID
		}
		if !found {
			t.Errorf("%s: the waiter whose stack is excluded is not mentioned: %+v", kind, p.Unexplained)
		}
	}
}

// TestExcludedLock: the list's ends tell where its head is even if that cannot be
// read; the owner stays unknown, and the answer says so.
func TestExcludedLock(t *testing.T) {
	q := newQueue(synthetic.V6_1(), lock.Mutex)
	p := q.damaged(t, func(d *synthetic.Dump) { d.Exclude(q.lock.Addr) })
	for i, task := range q.tasks {
		w := p.wait[task.PID]
		if w == nil {
			t.Fatalf("waiter %d was not found: %+v", i, p.Unexplained)
		}
		if l := p.Locks[w.Lock]; uint64(l.Addr) != q.lock.Addr || !strings.Contains(l.Broken, "owner cannot be read") {
			t.Errorf("waiter %d: %+v", i, l)
		}
	}
	if len(p.Holds) != 0 || p.Coverage.Complete() {
		t.Errorf("%+v, %+v", p.Holds, p.Coverage)
	}
}

// TestTornList: a pointer that was overwritten cuts the list, and is no way to
// another lock.
func TestTornList(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	q := newQueue(synthetic.V6_12(), lock.Mutex)
	for range 20 {
		p := q.damaged(t, func(d *synthetic.Dump) { d.PutUint64(q.waiters[1].At("list"), d.WildPointer(r)) })
		for i, task := range q.tasks {
			w := p.wait[task.PID]
			if w == nil || uint64(p.Locks[w.Lock].Addr) != q.lock.Addr || p.Locks[w.Lock].Broken == "" {
				t.Errorf("waiter %d: %+v", i, w)
			}
		}
	}
}

// TestGoneOwner: an owner pointer to a freed task, or to nothing, names no task.
func TestGoneOwner(t *testing.T) {
	q := newQueue(synthetic.V6_12(), lock.Mutex)
	freed := q.Alloc("task_struct")
	for name, owner := range map[string]uint64{"freed": freed.Addr, "wild": q.Virt(q.Machine.RAM + 1<<20), "user": 0x7f0000001000} {
		p := q.damaged(t, func(d *synthetic.Dump) { d.PutUint64(q.lock.At("owner.counter"), owner|1) })
		if len(p.Holds) != 1 {
			t.Fatalf("%s: %+v", name, p.Holds)
		}
		if got := p.Tasks[p.Holds[0].Task]; got.Gone == "" || uint64(got.Addr) != owner || got.PID != 0 {
			t.Errorf("%s: the owner is said to be %+v", name, got)
		}
	}
}

// TestStaleWaiter: what looks like a waiter and is on no list is no wait.
func TestStaleWaiter(t *testing.T) {
	q := newQueue(synthetic.V6_12(), lock.Mutex)
	p := q.damaged(t, func(d *synthetic.Dump) {
		// The others closed ranks without it.
		d.PutUint64(q.waiters[0].At("list"), q.waiters[2].At("list"))
		d.PutUint64(q.waiters[2].At("list")+8, q.waiters[0].At("list"))
	})
	if w := p.wait[q.tasks[1].PID]; w != nil && (w.Sure == lock.Certain || w.Sure == lock.Likely) {
		t.Errorf("%+v", w)
	}
	for _, i := range []int{0, 2} {
		if w := p.wait[q.tasks[i].PID]; w == nil || p.Locks[w.Lock].Queue != 2 || p.Locks[w.Lock].Broken != "" {
			t.Errorf("waiter %d: %+v", i, w)
		}
	}
}

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

// change replaces a word, by a virtual address; what cannot be read stays so.
func (d *damaged) change(k *kernel.Kernel, virt, v uint64) {
	phys, _, err := k.Translate(virt &^ 7)
	if err != nil {
		return
	}
	page := phys &^ (pageSize - 1)
	if d.pages[page] == nil {
		b, err := k.Image().ViewPhys(page, pageSize)
		if err != nil {
			return
		}
		d.pages[page] = append([]byte(nil), b...)
	}
	binary.LittleEndian.PutUint64(d.pages[page][phys%pageSize:], v)
}

// sound tells whether a snapshot holds together.
func sound(t *testing.T, s *lock.Snapshot) {
	t.Helper()
	seen := map[int]bool{}
	for _, w := range s.Waits {
		if w.Task < 0 || w.Task >= len(s.Tasks) || w.Lock < 0 || w.Lock >= len(s.Locks) || len(w.Methods) == 0 || w.Sure == "" {
			t.Fatalf("a wait leads nowhere: %+v", w)
		}
		if seen[w.Task] {
			t.Fatalf("task %d waits twice", w.Task)
		}
		seen[w.Task] = true
	}
	for _, h := range s.Holds {
		if h.Task < 0 || h.Task >= len(s.Tasks) || h.Lock < 0 || h.Lock >= len(s.Locks) || h.Method == "" || h.Sure == "" {
			t.Fatalf("a hold leads nowhere: %+v", h)
		}
		if l := &s.Locks[h.Lock]; h.Sure == lock.Certain && l.NoHolder != "" {
			t.Fatalf("the lock has a holder and says %q: %+v", l.NoHolder, h)
		}
	}
	for _, u := range s.Unexplained {
		if u.Task < 0 || u.Task >= len(s.Tasks) || u.Why == "" {
			t.Fatalf("%+v", u)
		}
	}
}

// hurt makes a kernel of a damaged image, nil where it is beyond use.
func hurt(t *testing.T, k *kernel.Kernel, d *damaged) *lock.Snapshot {
	t.Helper()
	other, err := kernel.Open(d, k.Info(), kernel.Options{})
	if err != nil {
		return nil
	}
	modules, _ := module.Attach(other)
	tracer, err := unwind.New(other, modules)
	if err != nil {
		return nil
	}
	tasks, err := task.New(other)
	if err != nil {
		return nil
	}
	r, err := lock.Open(other, tasks, tracer, nil)
	if err != nil {
		return nil
	}
	s, err := r.Snapshot(context.Background(), lock.Options{Interruptible: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDamage hurts the stacks, tasks and locks of the main boot at random. Whatever
// is there, the answer holds together.
func TestDamage(t *testing.T) {
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	p := boots[0].picture(t)
	var at []uint64
	for _, tk := range p.Tasks {
		at = append(at, uint64(tk.Addr))
	}
	for _, l := range p.Locks {
		if l.Addr != 0 {
			at = append(at, uint64(l.Addr))
		}
	}
	for _, w := range p.Waits {
		if w.Evidence.Slot != 0 {
			at = append(at, uint64(w.Evidence.Slot))
		}
	}
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		d := &damaged{Image: k.Image(), pages: map[uint64][]byte{}}
		for range 40 {
			virt := at[r.IntN(len(at))] + r.Uint64N(0x60)
			switch r.IntN(4) {
			case 0:
				d.change(k, virt, r.Uint64())
			case 1:
				d.change(k, virt, at[r.IntN(len(at))]+r.Uint64N(0x60)&^7)
			case 2:
				d.change(k, virt, 0xdead000000000100)
			default:
				if phys, _, err := k.Translate(virt); err == nil && r.IntN(4) == 0 {
					d.pages[phys&^(pageSize-1)] = nil
				}
			}
		}
		if s := hurt(t, k, d); s != nil {
			sound(t, s)
		}
	}
}

// small are the synthetic kernels whose words are overwritten: with the addresses of
// what is worth it.
type small struct {
	k  *kernel.Kernel
	at []uint64
}

func smalls(t testing.TB) [2]small {
	q := newQueue(synthetic.V6_12(), lock.Mutex)
	c, _, holder, spinners := case2(synthetic.EL6())
	list := [2]small{{k: q.open(t)}, {k: (&machine{Kernel: c}).open(t)}}
	for i, task := range q.tasks {
		list[0].at = append(list[0].at, task.Addr, q.waiters[i].Addr, q.lock.Addr)
	}
	for _, task := range append(spinners, holder) {
		list[1].at = append(list[1].at, task.Addr, task.Stack+0x3e00)
	}
	return list
}

// overwrite changes a word for each three bytes: to a number, or to an address of
// another object.
func (m small) overwrite(t *testing.T, data []byte) {
	t.Helper()
	d := &damaged{Image: m.k.Image(), pages: map[uint64][]byte{}}
	for i := 0; i+3 <= len(data); i += 3 {
		virt := m.at[int(data[i])%len(m.at)] + uint64(data[i+1])*8
		value := m.at[int(data[i+2])%len(m.at)] + uint64(data[i+2]&0xf8)
		if data[i+2] > 200 {
			value = uint64(data[i+2]) << (data[i+1] % 57)
		}
		d.change(m.k, virt, value)
	}
	if s := hurt(t, m.k, d); s != nil {
		sound(t, s)
	}
}

// TestRandomWords overwrites words of the small kernels at random.
func TestRandomWords(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	list := smalls(t)
	r := rand.New(rand.NewPCG(3, 4))
	for n := range rounds {
		data := make([]byte, 3*(1+r.IntN(60)))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		list[n&1].overwrite(t, data)
	}
}

// FuzzSnapshot overwrites words of the stacks, tasks and locks of small kernels.
func FuzzSnapshot(f *testing.F) {
	list := smalls(f)
	f.Add([]byte{0, 0, 0, 1, 2, 8, 2, 1, 16})
	f.Add([]byte{1, 3, 3, 7, 5, 200, 11, 0, 40, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 0 && len(data) <= 200 {
			list[data[0]&1].overwrite(t, data[1:])
		}
	})
}
