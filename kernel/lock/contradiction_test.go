package lock_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
)

// offset is where a member of a type lies.
func offset(t *testing.T, k *kernel.Kernel, typ, member string) uint64 {
	t.Helper()
	s, err := k.Info().Type(typ)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Field(member)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(f.Offset)
}

// waiting is the wait of the first task of a name.
func waiting(t *testing.T, s *lock.Snapshot, comm string) *lock.Wait {
	t.Helper()
	for i := range s.Tasks {
		if w := s.WaitOf(i); s.Tasks[i].Comm == comm && w != nil {
			return w
		}
	}
	t.Fatalf("%s waits for nothing", comm)
	return nil
}

// TestNoSuchBit: a number that no word has a bit of is damage; what is waited for is told
// by the rest, and not for certain.
func TestNoSuchBit(t *testing.T) {
	whole := kerneltest.Kernel(t, fixtures.Path(t, waitsBoot.file))
	before := asked(t, whole.Image(), whole, nil)
	w := waiting(t, before, "u/buffer.lock")
	want := before.Locks[w.Lock]
	at := uint64(w.Evidence.Slot) + offset(t, whole, "struct wait_bit_queue_entry", "key.bit_nr")
	d := &damaged{Image: whole.Image(), pages: map[uint64][]byte{}}
	d.change(whole, at, 12189698)
	after := asked(t, d, whole, nil)
	w = waiting(t, after, "u/buffer.lock")
	if l := after.Locks[w.Lock]; l.Kind != lock.BufferLock || l.Addr != want.Addr || l.Bit != 0 || w.Sure != lock.Suspected || after.Coverage.Complete() {
		t.Errorf("%+v, %+v, %+v", l, w, after.Coverage)
	}
}

// TestFileLockOfTwoSorts: a POSIX lock stays one where a flag says that it is a lease, too.
func TestFileLockOfTwoSorts(t *testing.T) {
	whole := kerneltest.Kernel(t, fixtures.Path(t, waitsBoot.file))
	w := waiting(t, asked(t, whole.Image(), whole, nil), "posix-read") // one of that name waits
	next, err := whole.Uint64(uint64(w.Evidence.Slot) + offset(t, whole, "struct wait_queue_entry", "entry"))
	if err != nil {
		t.Fatal(err)
	}
	own := next - offset(t, whole, "struct wait_queue_head", "head") - offset(t, whole, "struct file_lock", "fl_wait")
	at := own + offset(t, whole, "struct file_lock", "fl_flags")
	word, err := whole.Uint64(at &^ 7)
	if err != nil {
		t.Fatal(err)
	}
	const posix, lease = 1, 32
	if word>>(8*(at%8))&posix == 0 {
		t.Fatalf("the flags of the file_lock at %#x are in %#x", own, word)
	}
	d := &damaged{Image: whole.Image(), pages: map[uint64][]byte{}}
	d.change(whole, at, word|lease<<(8*(at%8)))
	s := asked(t, d, whole, nil)
	if l := s.Locks[waiting(t, s, "posix-read").Lock]; l.Kind != lock.POSIXLock || s.Coverage.Complete() {
		t.Errorf("%+v, %+v", l, s.Coverage)
	}
}
