package lock

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
	"github.com/kmortem/mortem/kernel/vmalloc"
)

// namer finds out what locks are parts of.
type namer struct {
	b                  *builder
	supers             map[uint64]*vfs.SuperBlock
	mounts             *vfs.Mounts
	mms, tasks, stacks []span            // of mm_structs, task_structs and kernel stacks, by address
	slabs              *slab.Allocations // nil where they cannot be read
	objectSize         uint64            // of the slab object that was found last
	locals             int               // how many locks were named by local variables
	super              *ctype.Type
	inode              *ctype.Type
	dentry             *ctype.Type
	mm                 *ctype.Type
	task               *ctype.Type
	table              *vfs.HashTable // of dentries; nil before it is asked for, and where there is none
	triedTable         bool
	areas              []vmalloc.Area // by address, once they were asked for
	triedAreas         bool
	targets            []target
}

// name names all locks.
func (b *builder) name() {
	if len(b.snap.Locks) == 0 {
		return
	}
	n := b.newNamer()
	for i := range b.snap.Locks {
		if b.ctx.Err() != nil {
			return
		}
		n.lock(&b.snap.Locks[i])
		n.byLocals(i)
		if o := b.snap.Locks[i].Object; o != nil && o.untyped() && len(n.targets) < maxTargets {
			n.targets = append(n.targets, target{uint64(o.Addr), n.objectSize, i})
		}
		n.buffer(&b.snap.Locks[i])
		n.bucket(&b.snap.Locks[i])
		n.pipePath(i)
	}
	n.byVariables()
	b.freezeEdges()
}

func (b *builder) newNamer() *namer {
	n := &namer{b: b, supers: map[uint64]*vfs.SuperBlock{},
		super: typeOf(b.k, "struct super_block"), inode: typeOf(b.k, "struct inode"), dentry: typeOf(b.k, "struct dentry"),
		mm: typeOf(b.k, "struct mm_struct"), task: typeOf(b.k, "struct task_struct")}
	if b.fs != nil {
		for sb, err := range b.fs.SuperBlocks() {
			if err == nil {
				n.supers[sb.Addr] = sb
			} else {
				b.fail(err)
			}
		}
		n.mounts = b.fs.Mounts()
		unread := n.mounts.Coverage
		unread.Read = 0 // mounts are not what is counted
		b.snap.Coverage.Add(unread)
	}
	n.findSpans()
	pages, err := page.Open(b.k)
	if err == nil {
		n.slabs, err = slab.Open(b.k, pages) // without it, caches are not named
	}
	if err == nil {
		err = n.slabs.Broken()
	}
	b.unread("slab caches", err)
	return n
}

// span is memory that belongs to a task.
type span struct {
	start, size uint64
	task        *task.Task
}

// findSpans collects what belongs to tasks.
func (n *namer) findSpans() {
	b := n.b
	seen := map[uint64]bool{}
	for _, tk := range b.live {
		n.tasks = append(n.tasks, span{tk.Addr, uint64(n.task.Size()), tk})
		if tk.Stack != 0 {
			n.stacks = append(n.stacks, span{tk.Stack, b.tracer.StackSize(), tk})
		}
	}
	if b.forms.task.MM.Has() && n.mm != nil {
		for _, tk := range b.order {
			if f, err := b.k.Peek(tk.Addr, b.field); err == nil {
				if mm := b.forms.task.MM.Get(f); mm != 0 && !seen[mm] {
					seen[mm] = true
					n.mms = append(n.mms, span{mm, uint64(n.mm.Size()), tk})
				}
			}
		}
	}
	for _, list := range [][]span{n.mms, n.tasks, n.stacks} {
		slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	}
}

// spanOf finds the span that an address lies in.
func spanOf(list []span, addr uint64) (span, bool) {
	i := sort.Search(len(list), func(i int) bool { return list[i].start > addr }) - 1
	if i < 0 || addr-list[i].start >= list[i].size {
		return span{}, false
	}
	return list[i], true
}

// lock names one lock.
func (n *namer) lock(l *Lock) {
	addr := uint64(l.Addr)
	switch l.Kind {
	case RCU, Futex:
		return
	case FolioLock, Writeback:
		n.folio(l)
		return
	case Flock, POSIXLock, Lease:
		n.fileLock(l)
		return
	}
	if addr == 0 {
		return
	}
	for _, find := range []func(*Lock, uint64) bool{n.inVariable, n.inSuper, n.inMM, n.inInode, n.inDentry, n.inTask, n.onStack, n.inSlab,
		n.inPerCPU, n.inVmalloc} {
		if find(l, addr) {
			return
		}
	}
}

// within tells whether an address lies in an object of a type.
func within(addr, object uint64, t *ctype.Type) bool {
	return t != nil && addr >= object && addr-object < uint64(t.Size())
}

func (n *namer) inSuper(l *Lock, addr uint64) bool {
	for at, sb := range n.supers {
		if !within(addr, at, n.super) {
			continue
		}
		l.Object = &Object{Addr: kernel.Addr(at), Type: "struct super_block", Member: member(n.super, addr-at),
			Super: sb.Type + " " + sb.ID, By: "list of super_blocks"}
		if mounts := n.mountsOf(at); len(mounts) > 0 {
			l.Object.Path = mounts[0]
		}
		if freezing(l) {
			n.frozen(l, sb)
		}
		return true
	}
	return false
}

func (n *namer) mountsOf(sb uint64) []string {
	var list []string
	if n.mounts == nil {
		return nil
	}
	for _, m := range n.mounts.Of(sb) {
		if p, err := n.mounts.PathOfMount(m); err == nil {
			list = append(list, p)
		}
	}
	return list
}

func (n *namer) inMM(l *Lock, addr uint64) bool {
	at, ok := spanOf(n.mms, addr)
	if ok {
		l.Object = &Object{Addr: kernel.Addr(at.start), Type: "struct mm_struct", Member: member(n.mm, addr-at.start),
			PID: at.task.TGID, Comm: n.leader(at.task), By: "task.mm"}
	}
	return ok
}

// leader is the name of a task's process.
func (n *namer) leader(tk *task.Task) string {
	for _, o := range n.b.order {
		if o.PID == tk.TGID {
			return o.Comm
		}
	}
	return tk.Comm
}

// inInode tries the members of an inode that are locks: what is an inode belongs to
// a super_block.
func (n *namer) inInode(l *Lock, addr uint64) bool {
	return n.embedded(l, addr, n.inode, "i_sb", []string{"i_rwsem", "i_mutex", "i_lock", "i_data.invalidate_lock", "i_data.i_mmap_rwsem",
		"i_data.i_mmap_mutex", "i_data.i_pages.xa_lock", "i_data.tree_lock", "i_state", "i_data.private_lock", "i_data.i_private_lock",
		"i_alloc_sem"}, func(o *Object, at uint64) {
		o.Type = "struct inode"
		o.Path = n.inodePath(at)
	})
}

func (n *namer) inDentry(l *Lock, addr uint64) bool {
	found := n.embedded(l, addr, n.dentry, "d_sb", []string{"d_lockref.lock", "d_lock"}, func(o *Object, at uint64) {
		o.Type = "struct dentry"
		o.Path = n.dentryPath(at)
	})
	if found && l.Kind == Spinlock && strings.HasPrefix(l.Object.Member, "d_lockref") {
		l.Kind = Lockref
	}
	return found
}

// embedded tries members of a type whose member super leads to a super_block.
func (n *namer) embedded(l *Lock, addr uint64, t *ctype.Type, super string, members []string, fill func(*Object, uint64)) bool {
	off, ok := at(t, super)
	if !ok || len(n.supers) == 0 {
		return false
	}
	for _, m := range members {
		pos, ok := at(t, m)
		if !ok {
			continue
		}
		base := addr - pos
		v, ok := n.b.uint64At(base + off)
		sb := n.supers[v]
		if !ok || sb == nil {
			continue
		}
		o := &Object{Addr: kernel.Addr(base), Member: m, Super: sb.Type + " " + sb.ID, By: super + " leads to a super_block"}
		fill(o, base)
		l.Object = o
		return true
	}
	return false
}

// inodePath is the path of an inode's first dentry.
func (n *namer) inodePath(inode uint64) string {
	head, ok1 := at(n.inode, "i_dentry.first", "i_dentry.next")
	alias, ok2 := at(n.dentry, "d_u.d_alias", "d_alias")
	if !ok1 || !ok2 {
		return ""
	}
	first, ok := n.b.need64(inode+head, "the names of an inode")
	if !ok || first == 0 || first == inode+head {
		return ""
	}
	return n.dentryPath(first - alias)
}

func (n *namer) dentryPath(addr uint64) string {
	if n.b.fs == nil {
		return ""
	}
	d, err := n.b.fs.Dentry(addr)
	if err != nil {
		n.b.unread("a dentry", err)
		return ""
	}
	var path string
	if n.mounts != nil {
		path, err = n.mounts.PathOf(d)
	}
	if path == "" || err != nil {
		n.b.unread("a path", err)
		path, err = n.b.fs.Path(d)
	}
	if err != nil {
		n.b.unread("a path", err)
		return ""
	}
	return path
}

func (n *namer) inTask(l *Lock, addr uint64) bool {
	at, ok := spanOf(n.tasks, addr)
	if ok {
		l.Object = &Object{Addr: kernel.Addr(at.start), Type: "struct task_struct", Member: member(n.task, addr-at.start),
			PID: at.task.PID, Comm: at.task.Comm, By: "list of tasks"}
	}
	return ok
}

// onStack: completions and the like are often made on a task's own stack.
func (n *namer) onStack(l *Lock, addr uint64) bool {
	at, ok := spanOf(n.stacks, addr)
	if ok {
		l.Object = &Object{Addr: kernel.Addr(at.start), Type: OnStack, PID: at.task.PID, Comm: at.task.Comm, By: "list of tasks"}
		n.inFrame(l, &at)
	}
	return ok
}

// inSlab names the slab cache whose object a lock is in, and its type where the
// cache's name is that of one of the right size.
func (n *namer) inSlab(l *Lock, addr uint64) bool {
	if n.slabs == nil {
		return false
	}
	o, ok, err := n.slabs.ObjectAt(addr)
	n.b.unread(fmt.Sprintf("the slab object at %#x", addr), err)
	if err != nil && !errors.Is(err, slab.ErrPart) || !ok || o.Slab.Cache == nil {
		return false
	}
	l.Object = &Object{Addr: kernel.Addr(o.Addr), Cache: o.Slab.Cache.Name, By: "slab"}
	n.objectSize = uint64(o.Slab.Cache.Size)
	off := addr - o.Addr
	if l.Kind == Pipe {
		l.Object.Type = "struct pipe_inode_info"
		return true
	}
	if t := typeOf(n.b.k, "struct "+o.Slab.Cache.Name); t != nil && t.Size() <= int64(o.Slab.Cache.ObjectSize) && off < uint64(t.Size()) {
		l.Object.Type, l.Object.Member = "struct "+o.Slab.Cache.Name, member(t, off)
	} else if off != 0 {
		l.Object.Member = fmt.Sprintf("+%#x", off)
	}
	if o.Free {
		l.Object.By = "slab; the object is free"
	}
	return true
}

// folio names a page by the file that it belongs to.
func (n *namer) folio(l *Lock) {
	t := typeOf(n.b.k, "struct page")
	mapping, ok1 := at(t, "mapping")
	index, ok2 := at(t, "index", "__folio_index")
	host, ok3 := at(typeOf(n.b.k, "struct address_space"), "host")
	if !ok1 || !ok2 || !ok3 {
		return
	}
	m, ok := n.b.need64(uint64(l.Addr)+mapping, "a struct page")
	if !ok || m == 0 || m&3 != 0 { // PAGE_MAPPING_ANON and movable ones
		return
	}
	inode, ok := n.b.need64(m+host, "the address_space of a page")
	if !ok || inode == 0 {
		return
	}
	l.Object = &Object{Addr: kernel.Addr(inode), Type: "struct inode", Path: n.inodePath(inode), By: "page.mapping"}
	if i, ok := n.b.uint64At(uint64(l.Addr) + index); ok {
		l.Purpose = fmt.Sprintf("page %d of the file", i)
	}
}

// fileLock names the file that is locked.
func (n *namer) fileLock(l *Lock) {
	form := n.b.readFileForm()
	file, ok := n.b.need64(uint64(l.Addr)+form.locks.file, "the file of a file_lock")
	if !ok || file == 0 {
		return
	}
	dentry, ok := n.b.need64(file+form.dentry, "a locked file")
	if !ok {
		return
	}
	l.Object = &Object{Addr: kernel.Addr(file), Type: "struct file", Path: n.dentryPath(dentry), By: "file_lock.fl_file"}
}

// maxDepth bounds how deep a member is looked for.
const maxDepth = 8

// member is the path of the member of a type at an offset, down to a structure that
// is named like a lock; with the rest as a number.
func member(t *ctype.Type, off uint64) string {
	var path []string
	for range maxDepth {
		s := t.Strip()
		if s.Kind == ctype.Array && s.Elem() != nil && s.Elem().Size() > 0 {
			i := off / uint64(s.Elem().Size())
			off %= uint64(s.Elem().Size())
			if len(path) > 0 {
				path[len(path)-1] += fmt.Sprintf("[%d]", i)
			}
			t = s.Elem()
			continue
		}
		if s.Kind != ctype.Struct || (lockTypes[s.String()] || lockTypes[t.String()]) && off == 0 {
			break
		}
		m, ok := memberAt(s, off)
		if !ok {
			break
		}
		if m.Name != "" {
			path = append(path, m.Name)
		}
		off -= uint64(m.Offset)
		t = m.Type
	}
	out := strings.Join(path, ".")
	if off != 0 {
		out += fmt.Sprintf("+%#x", off)
	}
	return out
}

func memberAt(t *ctype.Type, off uint64) (ctype.Member, bool) {
	for _, m := range t.Members() {
		if m.Offset >= 0 && off >= uint64(m.Offset) && off-uint64(m.Offset) < uint64(max(m.Type.Size(), 0)) {
			return m, true
		}
	}
	return ctype.Member{}, false
}

// lockTypes are the structures in which no smaller member is worth naming; some have no
// name but that of a typedef.
var lockTypes = map[string]bool{"rwlock_t": true, "struct mutex": true, "struct rw_semaphore": true, "struct semaphore": true, "struct rt_mutex": true,
	"struct percpu_rw_semaphore": true, "struct completion": true, "struct wait_queue_head": true, "struct __wait_queue_head": true, "struct raw_spinlock": true,
	"struct spinlock": true, "struct lockref": true, "struct ww_mutex": true, "struct work_struct": true, "struct rt_mutex_base": true, "struct rwbase_rt": true}
