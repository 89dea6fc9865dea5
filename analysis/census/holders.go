package census

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/sweep"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// holderLayouts are the ways from a task to the dentries that it holds. What they
// name has kept its place in its structure since 2.6.32 (include/linux/sched.h,
// fdtable.h, fs.h, fs_struct.h, mm_types.h).
type holderLayouts struct {
	task struct {
		kernel.Layout `kernel:"struct task_struct"`
		FS            kernel.U64 `kernel:"fs"`
		Files         kernel.U64 `kernel:"files"`
		MM            kernel.U64 `kernel:"mm"`
	}
	files struct {
		kernel.Layout `kernel:"struct files_struct"`
		Table         kernel.U64 `kernel:"fdt"`
	}
	table struct {
		kernel.Layout `kernel:"struct fdtable"`
		Max           kernel.U32 `kernel:"max_fds"`
		Files         kernel.U64 `kernel:"fd"`
	}
	file struct {
		kernel.Layout `kernel:"struct file"`
		Dentry        kernel.U64 `kernel:"f_path.dentry"`
	}
	fs struct {
		kernel.Layout `kernel:"struct fs_struct"`
		Root          kernel.U64 `kernel:"root.dentry"`
		Cwd           kernel.U64 `kernel:"pwd.dentry"`
	}
	mm struct {
		kernel.Layout `kernel:"struct mm_struct"`
		Exe           kernel.U64 `kernel:"exe_file,optional"`
	}
	vma struct {
		kernel.Layout `kernel:"struct vm_area_struct"`
		MM            kernel.U64 `kernel:"vm_mm"`
		File          kernel.U64 `kernel:"vm_file"`
	}
}

func (l *holderLayouts) resolve(k *kernel.Kernel) error {
	for _, one := range []any{&l.task, &l.files, &l.table, &l.file, &l.fs, &l.mm, &l.vma} {
		if err := k.Resolve(one); err != nil {
			return fmt.Errorf("who holds a dentry: %w", err)
		}
	}
	return nil
}

// holders finds out who holds some dentries.
type holders struct {
	holderLayouts
	k      *kernel.Kernel
	wanted map[uint64]*heldBy
	cover  *kernel.Coverage
	files  map[uint64]uint64    // the dentry of a struct file, 0 for one that nobody asked for
	seen   map[uint64]bool      // files_structs, fs_structs and mm_structs that were looked at
	mms    map[uint64]task.Task // the first task of each mm_struct
}

// heldBy are the holders of one dentry.
type heldBy struct {
	list []Holder
	more int
}

// maxHolders is how many holders of a dentry are named, and maxFiles how many files a
// task can have.
const (
	maxHolders = 8
	maxFiles   = 1 << 20
)

func (h *heldBy) add(one Holder) {
	if len(h.list) == maxHolders {
		h.more++
		return
	}
	h.list = append(h.list, one)
}

// findHolders finds who holds dentries: tasks by open files, directories, programs
// and mappings, and mounts. slabs may be nil: then mappings are not known.
func findHolders(ctx context.Context, fs *vfs.FS, slabs *slab.Allocations, dentries []uint64, cover *kernel.Coverage) (map[uint64]*heldBy, error) {
	h := &holders{k: fs.Kernel(), wanted: make(map[uint64]*heldBy, len(dentries)), cover: cover,
		files: make(map[uint64]uint64), seen: make(map[uint64]bool), mms: make(map[uint64]task.Task)}
	for _, at := range dentries {
		h.wanted[at] = new(heldBy)
	}
	if len(dentries) == 0 {
		return h.wanted, nil
	}
	if err := h.resolve(h.k); err != nil {
		cover.Fail(err)
		return h.wanted, nil
	}
	h.byMounts(fs.Mounts())
	if err := h.byTasks(ctx); err != nil {
		return nil, err
	}
	return h.wanted, h.byMappings(ctx, slabs)
}

func (h *holders) byMounts(mounts *vfs.Mounts) {
	for _, m := range mounts.All() {
		if by := h.wanted[m.Root]; by != nil {
			by.add(Holder{How: "mount", At: kernel.Addr(m.Addr)})
		}
		if by := h.wanted[m.Mountpoint]; by != nil && m.Parent != m.Addr {
			by.add(Holder{How: "mountpoint", At: kernel.Addr(m.Addr)})
		}
	}
}

func (h *holders) byTasks(ctx context.Context) error {
	tasks, err := task.New(h.k)
	if err != nil {
		h.cover.Fail(err)
		return nil
	}
	buf := make([]byte, h.task.Span())
	for t, err := range tasks.All() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			h.cover.Fail(err)
		}
		if t == nil {
			continue
		}
		b, err := h.k.Peek(t.Addr, buf)
		if err != nil {
			h.cover.Fail(err)
			continue
		}
		fs, files, mm := h.task.FS.Get(b), h.task.Files.Get(b), h.task.MM.Get(b)
		h.once(fs, func() error { return h.byDirectories(t, fs) })
		h.once(files, func() error { return h.byFiles(t, files) })
		h.once(mm, func() error { return h.byProgram(t, mm) })
	}
	return nil
}

// once calls look for a structure that was not looked at: threads share theirs.
func (h *holders) once(at uint64, look func() error) {
	if at == 0 || h.seen[at] {
		return
	}
	h.seen[at] = true
	if err := look(); err != nil {
		h.cover.Fail(err)
	}
}

func (h *holders) add(t *task.Task, dentry uint64, how string, fd *int, at uint64) {
	if by := h.wanted[dentry]; by != nil {
		by.add(Holder{How: how, PID: t.TGID, Comm: t.Comm, FD: fd, At: kernel.Addr(at)})
	}
}

func (h *holders) byDirectories(t *task.Task, at uint64) error {
	b, err := h.k.Peek(at, make([]byte, h.fs.Span()))
	if err != nil {
		return fmt.Errorf("struct fs_struct at %#x: %w", at, err)
	}
	h.add(t, h.fs.Cwd.Get(b), "cwd", nil, at)
	h.add(t, h.fs.Root.Get(b), "root", nil, at)
	return nil
}

func (h *holders) byFiles(t *task.Task, at uint64) error {
	table, err := h.k.Uint64(at + h.holderLayouts.files.Table.Offset())
	if err != nil {
		return fmt.Errorf("struct files_struct at %#x: %w", at, err)
	}
	l := &h.table
	b, err := h.k.Peek(table, make([]byte, l.Span()))
	if err != nil {
		return fmt.Errorf("struct fdtable at %#x: %w", table, err)
	}
	most, files := l.Max.Get(b), l.Files.Get(b)
	if most > maxFiles {
		return fmt.Errorf("struct fdtable at %#x: %d descriptors cannot be", table, most)
	}
	pointers := make([]byte, 8*most)
	n, err := h.k.Read(pointers, files)
	for i := 0; i+8 <= n; i += 8 {
		file := binary.LittleEndian.Uint64(pointers[i:])
		if file == 0 {
			continue
		}
		dentry, fileErr := h.dentryOf(file)
		if fileErr != nil && err == nil {
			err = fileErr
		}
		if dentry != 0 {
			fd := i / 8
			h.add(t, dentry, "fd", &fd, file)
		}
	}
	return err
}

// dentryOf is the dentry of a struct file if somebody asked for it, else 0.
func (h *holders) dentryOf(file uint64) (uint64, error) {
	if dentry, known := h.files[file]; known {
		return dentry, nil
	}
	dentry, err := h.k.Uint64(file + h.file.Dentry.Offset())
	if err != nil {
		return 0, fmt.Errorf("struct file at %#x: %w", file, err)
	}
	if h.wanted[dentry] == nil {
		dentry = 0
	}
	h.files[file] = dentry
	return dentry, nil
}

func (h *holders) byProgram(t *task.Task, at uint64) error {
	h.mms[at] = *t
	if !h.mm.Exe.Has() {
		return nil
	}
	file, err := h.k.Uint64(at + h.mm.Exe.Offset())
	if err != nil || file == 0 {
		return err
	}
	dentry, err := h.dentryOf(file)
	if dentry != 0 {
		h.add(t, dentry, "exe", nil, file)
	}
	return err
}

// byMappings sweeps all vm_area_structs: those of a file that somebody asked for say
// in which address space it is mapped.
func (h *holders) byMappings(ctx context.Context, slabs *slab.Allocations) error {
	if slabs == nil {
		return nil
	}
	cache, err := slabs.ByName("vm_area_struct")
	if err != nil || cache.Size < h.vma.Span() {
		return nil // it is merged with others; then mappings are not known
	}
	var mu sync.Mutex
	mapped := make(map[[2]uint64]bool)
	result, err := sweep.Run(ctx, slabs, []sweep.Consumer{{Caches: []*slab.Cache{cache}, Visit: func(_ int, s *sweep.Slab) error {
		mu.Lock() // there are few of them beside dentries
		defer mu.Unlock()
		for i := range s.Objects {
			b := s.Bytes(i)
			if b == nil || !s.Live(i) {
				continue
			}
			file, mm := h.vma.File.Get(b), h.vma.MM.Get(b)
			if file == 0 {
				continue
			}
			dentry, _ := h.dentryOf(file) // what is no file is none that was asked for
			if t, ok := h.mms[mm]; ok && dentry != 0 && !mapped[[2]uint64{mm, file}] {
				mapped[[2]uint64{mm, file}] = true
				h.add(&t, dentry, "mmap", nil, s.Object(i))
			}
		}
		return nil
	}}}, sweep.Options{})
	if err == nil && !result.Coverage.Complete() {
		h.cover.Add(result.Coverage)
	}
	return err
}
