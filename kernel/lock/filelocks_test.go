package lock_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// The forms of struct file_lock: until 3.12 (2.6.32 and 3.10 have the same), 4.0 to 4.19,
// 5.0 to 6.8 (from the BTF of Debian's 5.10) and since 6.9 (of 6.12 and 7.2, whose
// structures are equal).
const (
	fileLock2 = `
struct file_lock 160
0 8 fl_next struct file_lock *
8 16 fl_link struct list_head
24 16 fl_block struct list_head
40 8 fl_owner fl_owner_t
48 1 fl_flags unsigned char
49 1 fl_type unsigned char
52 4 fl_pid unsigned int
56 8 fl_nspid struct pid *
64 24 fl_wait wait_queue_head_t
88 8 fl_file struct file *
96 8 fl_start loff_t
104 8 fl_end loff_t
typedef fl_owner_t 8 struct files_struct *
`
	fileLock4 = `
struct file_lock 176
0 8 fl_next struct file_lock *
8 16 fl_list struct list_head
24 16 fl_link struct hlist_node
40 16 fl_block struct list_head
56 8 fl_owner fl_owner_t
64 4 fl_flags unsigned int
68 1 fl_type unsigned char
72 4 fl_pid unsigned int
76 4 fl_link_cpu int
80 24 fl_wait wait_queue_head_t
104 8 fl_file struct file *
112 8 fl_start loff_t
120 8 fl_end loff_t
typedef fl_owner_t 8 void *
` + fileLockContext
	fileLock5 = `
struct file_lock 216
0 8 fl_blocker struct file_lock *
8 16 fl_list struct list_head
24 16 fl_link struct hlist_node
40 16 fl_blocked_requests struct list_head
56 16 fl_blocked_member struct list_head
72 8 fl_owner fl_owner_t
80 4 fl_flags unsigned int
84 1 fl_type unsigned char
88 4 fl_pid unsigned int
92 4 fl_link_cpu int
96 24 fl_wait wait_queue_head_t
120 8 fl_file struct file *
128 8 fl_start loff_t
136 8 fl_end loff_t
typedef fl_owner_t 8 void *
` + fileLockContext
	fileLock6 = `
struct file_lock_core 128
0 8 flc_blocker struct file_lock_core *
8 16 flc_list struct list_head
24 16 flc_link struct hlist_node
40 16 flc_blocked_requests struct list_head
56 16 flc_blocked_member struct list_head
72 8 flc_owner fl_owner_t
80 4 flc_flags unsigned int
84 1 flc_type unsigned char
88 4 flc_pid int
92 4 flc_link_cpu int
96 24 flc_wait wait_queue_head_t
120 8 flc_file struct file *
struct file_lock 192
0 128 c struct file_lock_core
128 8 fl_start loff_t
136 8 fl_end loff_t
typedef fl_owner_t 8 void *
` + fileLockContext
	fileLockContext = `
struct file_lock_context 56
0 4 flc_lock spinlock_t
8 16 flc_flock struct list_head
24 16 flc_posix struct list_head
40 16 flc_lease struct list_head
`
)

// fileMachine is a synthetic kernel with one file on which there are locks.
type fileMachine struct {
	*machine
	inode  synthetic.Object
	dentry *synthetic.Dentry
	held   map[string][]uint64 // by list of the context: the locks on it
	prefix string              // of the members of struct file_lock
	opened map[*synthetic.Task]uint64
}

func newFileMachine(l *synthetic.Layout, forms string) *fileMachine {
	m := &fileMachine{machine: newMachine(l.Extend(forms), 1), held: map[string][]uint64{}, prefix: "fl_", opened: map[*synthetic.Task]uint64{}}
	if m.Layout.HasStruct("file_lock_core") {
		m.prefix = "c.flc_"
	}
	super := m.SuperBlock("xfs", "dm-0")
	m.Mount(super, nil)
	m.dentry = m.Dentry(m.Dentry(super.Root, "var"), "db.lock")
	m.inode = m.dentry.Inode.Object
	return m
}

// opens has a task open the file: the address of its struct file.
func (m *fileMachine) opens(t *synthetic.Task) (file uint64) {
	f := m.Alloc("file").Set("f_path.dentry", m.dentry.Addr)
	if f.Has("f_inode") {
		f.Set("f_inode", m.inode.Addr)
	}
	array := m.Kmalloc(64 * 8)
	m.PutUint64(array+3*8, f.Addr)
	table := m.Alloc("fdtable").Set("max_fds", 64).Set("fd", array)
	files := m.Alloc("files_struct").Set("fdt", table.Addr)
	t.Set("files", files.Addr)
	m.opened[t] = files.Addr
	return f.Addr
}

// fileLock makes a lock of a task's file: of a list (flock, posix or lease), with flags,
// from a byte to another.
func (m *fileMachine) fileLock(at uint64, t *synthetic.Task, list string, flags, kind, from, to uint64) synthetic.Object {
	file := m.opens(t)
	owner := m.opened[t]
	if list != "posix" || flags&1024 != 0 {
		owner = file
	}
	l := m.ObjectAt("file_lock", at)
	l.Set(m.prefix+"flags", flags).Set(m.prefix+"type", kind).Set(m.prefix+"owner", owner).Set(m.prefix+"file", file).Set(m.prefix+"pid", uint64(t.PID))
	l.Set("fl_start", from).Set("fl_end", to)
	return l
}

func (m *fileMachine) holds(t *synthetic.Task, list string, flags, kind, from, to uint64) synthetic.Object {
	l := m.fileLock(m.Alloc("file_lock").Addr, t, list, flags, kind, from, to)
	m.held[list] = append(m.held[list], l.Addr)
	return l
}

// waits puts a task to sleep for a lock, behind another one.
func (m *fileMachine) waits(comm, list string, flags, kind, from, to uint64, behind synthetic.Object) (*synthetic.Task, synthetic.Object) {
	functions := map[string][]string{"flock": {"locks_lock_inode_wait", "__x64_sys_flock"}, "posix": {"fcntl_setlk", "do_fcntl"}, "lease": {"__break_lease", "do_dentry_open"}}
	t := m.task(comm)
	t.SetAny(1, "__state", "state") // TASK_INTERRUPTIBLE
	room := m.sleepIn(t, functions[list]...)
	at := m.Alloc("file_lock").Addr
	if list == "flock" {
		at = room + 0x40 // it is on the stack
	}
	l := m.fileLock(at, t, list, flags, kind, from, to)
	blocker := m.prefix + "blocker"
	if !l.Has(blocker) {
		blocker = m.prefix + "next"
	}
	l.Set(blocker, behind.Addr)
	m.queueEntry(room+8, l.At(m.prefix+"wait"), "autoremove_wake_function", t)
	return t, l
}

// finish links the locks that are held.
func (m *fileMachine) finish() {
	if !m.inode.Has("i_flctx") {
		next := m.inode.At("i_flock")
		for _, list := range []string{"flock", "posix", "lease"} {
			for _, l := range m.held[list] {
				m.PutUint64(next, l)
				next = m.ObjectAt("file_lock", l).At("fl_next")
			}
		}
		return
	}
	c := m.Alloc("file_lock_context")
	m.inode.Set("i_flctx", c.Addr)
	for _, list := range []string{"flock", "posix", "lease"} {
		ring := []uint64{c.At("flc_" + list)}
		for _, l := range m.held[list] {
			ring = append(ring, m.ObjectAt("file_lock", l).At(m.prefix+"list"))
		}
		for i, n := range ring {
			next := ring[(i+1)%len(ring)]
			m.PutUint64(n, next)
			m.PutUint64(next+8, n)
		}
	}
}

// TestFileLocks: flock, POSIX locks and those of open file descriptions, and leases, in
// the forms that struct file_lock has had. All who are in the way are named, and no
// others.
func TestFileLocks(t *testing.T) {
	for _, c := range []struct {
		layout *synthetic.Layout
		forms  string
		ofd    bool
	}{{synthetic.EL6(), fileLock2, false}, {synthetic.EL7(), fileLock2, false}, {synthetic.EL8(), fileLock4, true}, {synthetic.V5_4(), fileLock5, true},
		{synthetic.V5_10(), fileLock5, true}, {synthetic.V6_1(), fileLock5, true}, {synthetic.V6_12(), fileLock6, true}, {synthetic.V7(), fileLock6, true}} {
		t.Run(c.layout.Name, func(t *testing.T) { checkFileLocks(t, newFileMachine(c.layout, c.forms), c.ofd) })
	}
}

func checkFileLocks(t *testing.T, m *fileMachine, ofd bool) {
	const posix, flock, lease, description = 1, 2, 32, 1 | 1024
	const read, write = 0, 1
	const end = 1<<63 - 1
	type want struct {
		task    *synthetic.Task
		kind    lock.Kind
		mode    lock.Mode
		at      uint64
		holders []*synthetic.Task
	}
	var all []want
	names := 0
	sleeper := func() *synthetic.Task {
		names++
		return m.sleeper(fmt.Sprintf("holder%d", names))
	}
	// Two have a shared flock, one wants it for itself.
	a, b := sleeper(), sleeper()
	first := m.holds(a, "flock", flock, read, 0, end)
	m.holds(b, "flock", flock, read, 0, end)
	w, _ := m.waits("flocker", "flock", flock, write, 0, end, first)
	all = append(all, want{w, lock.Flock, lock.Write, first.Addr, []*synthetic.Task{a, b}})
	// Readers of ranges, one of them in the way; a writer, and a reader behind it.
	c, d := sleeper(), sleeper()
	first = m.holds(c, "posix", posix, read, 16, 31)
	m.holds(d, "posix", posix, read, 48, 63)
	w, middle := m.waits("writer", "posix", posix, write, 0, 40, first)
	all = append(all, want{w, lock.POSIXLock, lock.Write, first.Addr, []*synthetic.Task{c}})
	if middle.Has(m.prefix + "blocker") { // since 5.0
		w, _ = m.waits("behind", "posix", posix, read, 0, 8, middle)
		all = append(all, want{w, lock.POSIXLock, lock.Read, first.Addr, []*synthetic.Task{c}})
	}
	// One process has two locks, each of which someone waits for.
	one, two := m.holds(c, "posix", posix, write, 100, 109), synthetic.Object{}
	files := m.opened[c]
	two = m.holds(c, "posix", posix, write, 200, 209)
	two.Set(m.prefix+"owner", files)
	c.Set("files", files)
	first.Set(m.prefix+"owner", files)
	for _, l := range []synthetic.Object{one, two} {
		from := uint64(100)
		if l.Addr == two.Addr {
			from = 200
		}
		w, _ = m.waits("second", "posix", posix, write, from, from, l)
		all = append(all, want{w, lock.POSIXLock, lock.Write, l.Addr, []*synthetic.Task{c}})
	}
	if ofd {
		e := sleeper()
		l := m.holds(e, "posix", description, write, 300, 309)
		w, _ = m.waits("ofd", "posix", description, read, 305, 305, l)
		all = append(all, want{w, lock.POSIXLock, lock.Read, l.Addr, []*synthetic.Task{e}})
	}
	// A lease is broken by one who opens the file.
	f := sleeper()
	l := m.holds(f, "lease", lease, write, 0, end)
	w, _ = m.waits("opener", "lease", lease, read, 0, end, l)
	all = append(all, want{w, lock.Lease, lock.Read, l.Addr, []*synthetic.Task{f}})
	m.finish()
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	for _, x := range all {
		got := p.wait[x.task.PID]
		if got == nil {
			t.Errorf("%s: no wait was found", x.task.Comm)
			continue
		}
		found := p.Locks[got.Lock]
		if found.Kind != x.kind || uint64(found.Addr) != x.at || got.Mode != x.mode || found.Object == nil || found.Object.Path != "/var/db.lock" {
			t.Errorf("%s: %+v %+v %+v, want the lock at %#x", x.task.Comm, found, found.Object, got, x.at)
		}
		holders := p.holders(x.at, lock.Certain)
		if len(holders) != len(x.holders) {
			t.Errorf("%s: holders %+v, want %d", x.task.Comm, holders, len(x.holders))
		}
		for _, h := range x.holders {
			if _, ok := holders[h.PID]; !ok {
				t.Errorf("%s: %s does not hold it: %+v", x.task.Comm, h.Comm, holders)
			}
		}
	}
	if !p.Coverage.Complete() {
		t.Errorf("%+v", p.Coverage)
	}
}
