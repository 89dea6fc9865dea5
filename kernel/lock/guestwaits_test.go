package lock_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel/lock"
)

// waitsBoot is the boot with the waits that the others do not have.
var waitsBoot = boot{"waits", "waits", "waits/vmcore.kdump.xz", false}

// player is the thread that plays a role, the n-th that does.
func player(t testing.TB, facts *truth.Truth, role string) int {
	t.Helper()
	for _, p := range facts.Plant.Players {
		if p.Role == role {
			return p.Tid
		}
	}
	t.Fatalf("nobody plays %s", role)
	return 0
}

// lockAddr is the address of a lock of the module.
func lockAddr(t testing.TB, facts *truth.Truth, name string) uint64 {
	t.Helper()
	for _, l := range facts.Plant.Locks {
		if l.Name == name {
			return hex(t, l.Address)
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// holdersOf are the threads that a lock's holds name, by confidence.
func (p picture) holdersOf(l int, sure ...lock.Confidence) []int {
	var tids []int
	for _, h := range p.Holds {
		if h.Lock == l && slices.Contains(sure, h.Sure) {
			tids = append(tids, int(p.Tasks[h.Task].PID))
		}
	}
	slices.Sort(tids)
	return tids
}

// moduleWaits are the roles that wait for what the module has: the lock, its kind, how
// sure its holders are and who plays them.
var moduleWaits = []struct {
	role, lock string
	kind       lock.Kind
	mode       lock.Mode
	sure       lock.Confidence
	holder     string
}{
	{"buffer.lock", "mw_buffer", lock.BufferLock, "", lock.Suspected, "buffer.hold"},
	{"buffer.wait", "mw_buffer", lock.BufferLock, "", lock.Suspected, "buffer.hold"},
	{"var.wait", "mw_variable", lock.VarWait, "", lock.Certain, ""},
	{"work.run", "mw_gate", lock.Completion, "", lock.Certain, ""},
	{"work.flush", "mw_slow", lock.Work, "", lock.Certain, "work.run"},
	{"work.cancel", "mw_slow", lock.Work, "", lock.Certain, "work.run"},
	{"pending.flush", "mw_pending", lock.Work, "", lock.Likely, "work.run"},
	{"queue.flush", "mw_queue", lock.Workqueue, "", lock.Likely, "work.run"},
	{"queue.drain", "mw_queue", lock.Workqueue, "", lock.Likely, "work.run"},
	{"mutex.spin", "mw_busy", lock.Mutex, "", lock.Certain, "spin.hold"},
	{"seq.write", "rename_lock", lock.Seqlock, lock.Write, lock.Suspected, "spin.hold"},
	{"rcu.sync", "", lock.RCU, "", lock.Certain, "spin.hold"},
	{"rcu.expedited", "", lock.RCU, "", lock.Certain, "spin.hold"},
	{"rcu.barrier", "", lock.RCU, "", lock.Certain, "spin.hold"},
}

// TestModuleWaits: what the module mortem_waits says that its threads wait for, and who
// is in the way.
func TestModuleWaits(t *testing.T) {
	p, facts := waitsBoot.picture(t), waitsBoot.facts(t)
	for _, c := range moduleWaits {
		want := []int(nil)
		if c.holder != "" {
			want = []int{player(t, facts, c.holder)}
		}
		found := 0
		for _, pl := range facts.Plant.Players {
			if pl.Role != c.role {
				continue
			}
			found++
			w := p.wait[pl.Tid]
			if w == nil {
				t.Errorf("%s, thread %d: no wait was found", c.role, pl.Tid)
				continue
			}
			l := p.Locks[w.Lock]
			if l.Kind != c.kind || w.Mode != c.mode || c.lock != "" && uint64(l.Addr) != lockAddr(t, facts, c.lock) {
				t.Errorf("%s, thread %d: %+v, %+v", c.role, pl.Tid, l, w)
			}
			if got := p.holdersOf(w.Lock, c.sure); !slices.Equal(got, want) {
				t.Errorf("%s: the holders are %v, planted %v", c.role, got, want)
			}
			if others := p.holdersOf(w.Lock, lock.Certain, lock.Likely); c.sure == lock.Suspected && others != nil {
				t.Errorf("%s: %v are said to hold it", c.role, others)
			}
		}
		if found == 0 {
			t.Errorf("nobody plays %s", c.role)
		}
	}
}

// TestOptimisticSpinners: two processors wait for a mutex whose owner runs. The first
// watches the owner, the other one waits in the queue of those who do (osq_lock).
func TestOptimisticSpinners(t *testing.T) {
	p, facts := waitsBoot.picture(t), waitsBoot.facts(t)
	var at []string
	for _, pl := range facts.Plant.Players {
		if pl.Role != "mutex.spin" {
			continue
		}
		w := p.wait[pl.Tid]
		if w == nil || !w.Spinning || w.Position != -1 {
			t.Fatalf("thread %d: %+v", pl.Tid, w)
		}
		at = append(at, w.Evidence.Function)
	}
	if len(at) != 2 || at[0] == at[1] {
		t.Errorf("they spin in %v", at)
	}
}

// TestWorkNames: a workqueue has its own name, works have their functions', and a buffer
// has its block and disk.
func TestWorkNames(t *testing.T) {
	p, facts := waitsBoot.picture(t), waitsBoot.facts(t)
	block := ""
	for _, s := range facts.Situations {
		if s.Name == "buffer" {
			block = s.Detail
		}
	}
	for role, want := range map[string]string{"queue.flush": "mortem_waits", "work.flush": "mw_slow_fn [mortem_waits]", "pending.flush": "mw_pending_fn [mortem_waits]",
		"buffer.lock": block, "rcu.sync": "end of a grace period", "rcu.expedited": "end of an expedited grace period"} {
		if w := p.wait[player(t, facts, role)]; w == nil || p.Locks[w.Lock].Purpose != want || want == "" {
			t.Errorf("%s: %+v, want %q", role, w, want)
		}
	}
}

// guestWaits are the situations of user space: the kind of lock, what it is a part of
// besides the situation's detail, and how sure its holders are.
var guestWaits = map[string]struct {
	kind   lock.Kind
	typ    string
	sure   lock.Confidence
	holder string // the module's role, where the situation names none
}{
	"writeback":       {lock.Writeback, "struct inode", lock.Certain, ""},
	"folio":           {lock.FolioLock, "struct inode", lock.Suspected, "folio.hold"},
	"flock-shared":    {lock.Flock, "struct file", lock.Certain, ""},
	"flock-exclusive": {lock.Flock, "struct file", lock.Certain, ""},
	"posix-read":      {lock.POSIXLock, "struct file", lock.Certain, ""},
	"posix-write":     {lock.POSIXLock, "struct file", lock.Certain, ""},
	"ofd":             {lock.POSIXLock, "struct file", lock.Certain, ""},
	"ofd-posix":       {lock.POSIXLock, "struct file", lock.Certain, ""},
	"lease-write":     {lock.Lease, "struct file", lock.Certain, ""},
	"lease-read":      {lock.Lease, "struct file", lock.Certain, ""},
	"pipe-full":       {lock.Pipe, "struct pipe_inode_info", lock.Certain, ""},
	"fifo-open":       {lock.Pipe, "struct pipe_inode_info", lock.Certain, ""},
	"hlist-bl":        {lock.HlistBL, "", lock.Suspected, "spin.hold"},
	"lockref":         {lock.Lockref, "struct dentry", lock.Suspected, "spin.hold"},
	"seqlock-read":    {lock.Seqlock, "", lock.Suspected, "spin.hold"},
}

// TestGuestWaits: file locks of all sorts, pipes, pages and what processors spin for, as
// user space made them.
func TestGuestWaits(t *testing.T) {
	p, facts := waitsBoot.picture(t), waitsBoot.facts(t)
	seen := map[string]bool{}
	for _, s := range facts.Situations {
		c, ok := guestWaits[s.Name]
		if !ok {
			continue
		}
		seen[s.Name] = true
		want := slices.Sorted(slices.Values(s.Holders))
		if c.holder != "" {
			want = []int{player(t, facts, c.holder)}
		}
		for _, tid := range s.Waiters {
			w := p.wait[tid]
			if w == nil {
				t.Errorf("%s: thread %d waits, and no wait was found", s.Name, tid)
				continue
			}
			l := p.Locks[w.Lock]
			if l.Kind != c.kind || c.typ != "" && (l.Object == nil || l.Object.Type != c.typ) {
				t.Errorf("%s: %+v %+v", s.Name, l, l.Object)
			}
			if got := p.holdersOf(w.Lock, c.sure); !slices.Equal(got, want) {
				t.Errorf("%s: thread %d: the holders are %v, planted %v", s.Name, tid, got, want)
			}
			checkDetail(t, facts, s, &l)
		}
	}
	if len(seen) != len(guestWaits) {
		t.Errorf("only %v were planted", slices.Sorted(maps.Keys(seen)))
	}
}

// checkDetail compares what a lock is called with what it was planted as.
func checkDetail(t *testing.T, facts *truth.Truth, s truth.Situation, l *lock.Lock) {
	t.Helper()
	path, page, _ := strings.Cut(s.Detail, " ")
	switch s.Name {
	case "hlist-bl":
		if uint64(l.Addr) != lockAddr(t, facts, "mw_bucket") || !strings.HasPrefix(l.Symbol, "dentry_hashtable[") {
			t.Errorf("%s: %+v", s.Name, l)
		}
		return
	case "seqlock-read":
		if uint64(l.Addr) != lockAddr(t, facts, "rename_lock") || l.Symbol != "rename_lock" || !l.Held {
			t.Errorf("%s: %+v", s.Name, l)
		}
		return
	case "fifo-open": // it has no descriptor yet
		return
	case "lockref":
		if uint64(l.Object.Addr) != lockAddr(t, facts, "mw_dentry") {
			t.Errorf("%s: %+v", s.Name, l.Object)
		}
	case "writeback":
		if uint64(l.Addr) != lockAddr(t, facts, "mw_writeback_page") {
			t.Errorf("%s: %+v", s.Name, l)
		}
	case "folio":
		if uint64(l.Addr) != lockAddr(t, facts, "mw_folio_page") {
			t.Errorf("%s: %+v", s.Name, l)
		}
	}
	if l.Object.Path != path || page != "" && l.Purpose != page+" of the file" {
		t.Errorf("%s: %+v %+v, planted %s", s.Name, l, l.Object, s.Detail)
	}
}

// TestProcLocks: who blocks whom is what the kernel's own /proc/locks said: a line for
// each lock with the process that has it, and below it a line for each that waits.
func TestProcLocks(t *testing.T) {
	p, facts := waitsBoot.picture(t), waitsBoot.facts(t)
	holder, checked := 0, 0
	for line := range strings.Lines(facts.Early["/proc/locks"]) {
		var number, pid int
		words := strings.Fields(strings.ReplaceAll(line, "->", ""))
		if len(words) < 5 {
			continue
		}
		if _, err := fmt.Sscan(strings.TrimSuffix(words[0], ":"), &number); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(words[4], &pid); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !strings.Contains(line, "->") {
			holder = pid
			continue
		}
		if pid < 0 || holder < 0 {
			continue // locks of open file descriptions name no process
		}
		checked++
		w := p.wait[pid]
		if w == nil || !slices.Contains(p.holdersOf(w.Lock, lock.Certain), holder) {
			t.Errorf("%d waits for %d by %q; found %+v", pid, holder, line, w)
		}
	}
	if checked < 8 {
		t.Errorf("only %d waits in /proc/locks", checked)
	}
}

// TestWaitsWhole: nothing that waits is left unexplained but those that the module parks.
func TestWaitsWhole(t *testing.T) {
	p, facts := waitsBoot.picture(t), waitsBoot.facts(t)
	parked := map[int]bool{}
	for _, role := range []string{"buffer.hold", "writeback.hold", "folio.hold"} {
		parked[player(t, facts, role)] = true
	}
	for _, u := range p.Unexplained {
		if !parked[int(p.Tasks[u.Task].PID)] {
			t.Errorf("%+v %+v", p.Tasks[u.Task], u)
		}
	}
	if !p.Coverage.Complete() {
		t.Errorf("%+v", p.Coverage)
	}
}
