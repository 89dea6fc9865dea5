package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/task"
)

// fileForm is struct pipe_inode_info, what leads from a task to its open files, and
// what is known of file locks.
type fileForm struct {
	locks                                   lockFileForm
	readWait, writeWait                     uint64 // one queue until 5.4
	okPipe                                  bool
	fdt, maxFDs, fds, private, mode, dentry uint64
	okFiles                                 bool
}

func (b *builder) readFileForm() *fileForm {
	if b.filesOf != nil {
		return b.filesOf
	}
	f := &fileForm{locks: readLockFileForm(b.k)}
	b.filesOf = f
	p := typeOf(b.k, "struct pipe_inode_info")
	var ok [6]bool
	f.readWait, ok[0] = at(p, "rd_wait", "wait")
	f.writeWait, ok[1] = at(p, "wr_wait", "wait")
	f.okPipe = ok[0] && ok[1]
	f.fdt, ok[0] = at(typeOf(b.k, "struct files_struct"), "fdt")
	t := typeOf(b.k, "struct fdtable")
	f.maxFDs, ok[1] = at(t, "max_fds")
	f.fds, ok[2] = at(t, "fd")
	o := typeOf(b.k, "struct file")
	f.private, ok[3] = at(o, "private_data")
	f.mode, ok[4] = at(o, "f_mode")
	f.dentry, ok[5] = at(o, "f_path.dentry", "f_dentry")
	f.okFiles = ok == [6]bool{true, true, true, true, true, true} && b.forms.task.Files.Has()
	return f
}

// pipeWait makes of a wait queue the pipe that it is a part of.
func (b *builder) pipeWait(s *stack, f *found) {
	form := b.readFileForm()
	if !form.okPipe {
		return
	}
	queue := f.addr
	f.kind, f.mode = Pipe, Read
	f.addr = queue - form.readWait
	if s.has("pipe_write") || s.has("anon_pipe_write") || s.has("pipe_wait_writable") {
		f.addr, f.mode, f.pipeWrite = queue-form.writeWait, Write, true
	}
	f.pipe = f.addr
}

// openFile is a descriptor that someone has open.
type openFile struct {
	leader int // index of the task
	files  uint64
	fd     int
	file   uint64
	other  bool // it is not for the lock itself, but for another one of the same file
}

// maxDescriptors bounds the descriptors of one process: the default of fs.nr_open.
const maxDescriptors = 1 << 20

// fileWish is the index of a lock whose holder is looked for.
type fileWish struct {
	lock  int
	other bool
}

// fileSearch is what is looked for among the open files of all processes.
type fileSearch struct {
	pipes  map[uint64]int        // by struct pipe_inode_info
	files  map[uint64][]fileWish // by struct file
	owners map[uint64][]fileWish // by struct files_struct
	found  map[int][]openFile
}

// fileHolders names who holds the pipes and file locks that are waited for.
func (b *builder) fileHolders() {
	q := &fileSearch{map[uint64]int{}, map[uint64][]fileWish{}, map[uint64][]fileWish{}, map[int][]openFile{}}
	form := b.readFileForm()
	for i := range b.snap.Locks {
		addr := uint64(b.snap.Locks[i].Addr)
		switch b.snap.Locks[i].Kind {
		case Pipe:
			q.pipes[addr] = i
		case Flock, Lease, POSIXLock:
			b.wishLock(&form.locks, q, addr, fileWish{lock: i})
			for _, other := range b.otherFileLocks(&form.locks, b.extra[i].fileWaiter, addr) {
				b.wishLock(&form.locks, q, other, fileWish{lock: i, other: true})
			}
		}
	}
	if len(q.pipes)+len(q.files)+len(q.owners) == 0 {
		return
	}
	if form.okFiles {
		b.searchFiles(form, q)
	}
	for i := range b.snap.Locks {
		switch b.snap.Locks[i].Kind {
		case Pipe, Flock, Lease, POSIXLock:
			b.holdFiles(i, q.found[i])
		}
	}
}

// holdFiles adds the holders of a pipe or file lock.
func (b *builder) holdFiles(i int, found []openFile) {
	l := &b.snap.Locks[i]
	for _, o := range found {
		sure, text := Certain, fmt.Sprintf("it has the locked file open as descriptor %d", o.fd)
		switch {
		case l.Kind == Pipe:
			text = fmt.Sprintf("it has the other end open as descriptor %d", o.fd)
			if len(found) > 1 {
				sure = Suspected
				text += fmt.Sprintf(", as %d others have; any of them can end the wait", len(found)-1)
			}
		case o.fd < 0:
			text = "the lock belongs to its files_struct"
		}
		if o.other {
			text += "; it is another lock of the same file that is in the way, too"
		}
		b.hold(Hold{Lock: i, Task: o.leader, Method: ByRecord, Sure: sure,
			Evidence: []Evidence{{Value: kernel.Addr(max(o.file, o.files)), Text: text}}})
	}
	l = &b.snap.Locks[i]
	l.Held, l.HeldKnown = true, true
	if len(found) > 0 {
		return
	}
	l.NoHolder = "nobody has it open"
	if l.Kind != Pipe {
		pid, ok := b.uint32At(uint64(l.Addr) + b.readFileForm().locks.pid)
		l.NoHolder = "no process has the file open that is locked"
		if ok && pid != 0 {
			l.NoHolder += fmt.Sprintf("; process %d locked it", pid)
		}
	}
}

// searchFiles goes over the open files of all processes, once for each set that
// threads share.
func (b *builder) searchFiles(form *fileForm, q *fileSearch) {
	seen := map[uint64]bool{}
	for _, tk := range b.order {
		fields, err := b.k.Peek(tk.Addr, b.field)
		if err != nil {
			continue
		}
		files := b.forms.task.Files.Get(fields)
		if files == 0 || seen[files] {
			continue
		}
		seen[files] = true
		if b.ctx.Err() != nil {
			return
		}
		for _, w := range q.owners[files] {
			q.found[w.lock] = append(q.found[w.lock], openFile{leader: b.task(tk), files: files, fd: -1, other: w.other})
		}
		if len(q.pipes)+len(q.files) == 0 {
			continue
		}
		if err := b.descriptors(form, q, tk, files); err != nil {
			b.fail(fmt.Errorf("the open files of %d %s: %w", tk.PID, tk.Comm, err))
		}
	}
}

// descriptors looks at the open files of one process.
func (b *builder) descriptors(form *fileForm, q *fileSearch, tk *task.Task, files uint64) error {
	fdt, err := b.k.Uint64(files + form.fdt)
	if err != nil {
		return err
	}
	limit, err := b.k.Uint32(fdt + form.maxFDs)
	if err != nil {
		return err
	}
	array, err := b.k.Uint64(fdt + form.fds)
	if err != nil {
		return err
	}
	if limit > maxDescriptors {
		return fmt.Errorf("%d descriptors are more than there can be", limit)
	}
	var buf [4096]byte
	for at := uint64(0); at < uint64(limit); at += 512 {
		n := min(uint64(limit)-at, 512) * 8
		if _, err := b.k.Read(buf[:n], array+8*at); err != nil {
			return err
		}
		for i := uint64(0); i < n; i += 8 {
			if file := le64(buf[i:]); file != 0 {
				b.descriptor(form, q, tk, int(at+i/8), file)
			}
		}
	}
	return nil
}

func (b *builder) descriptor(form *fileForm, q *fileSearch, tk *task.Task, fd int, file uint64) {
	for _, w := range q.files[file] {
		q.found[w.lock] = append(q.found[w.lock], openFile{leader: b.task(tk), file: file, fd: fd, other: w.other})
	}
	if len(q.pipes) == 0 {
		return
	}
	private, ok := b.need64(file+form.private, "a struct file")
	i, wanted := q.pipes[private]
	if !ok || !wanted {
		return
	}
	b.extra[i].pipeFile = file
	mode, _ := b.need32(file+form.mode, "a struct file")
	other := uint32(modeWrite) // what a reader waits for
	if b.extra[i].pipeWrite {
		other = modeRead
	}
	if mode&other != 0 {
		q.found[i] = append(q.found[i], openFile{leader: b.task(tk), file: file, fd: fd})
	}
}

// FMODE_READ and FMODE_WRITE (include/linux/fs.h).
const (
	modeRead  = 1
	modeWrite = 2
)
