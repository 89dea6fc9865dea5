package census

import (
	"context"
	"fmt"
	"sync"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/sweep"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// vmaLayout is struct vm_area_struct (include/linux/mm_types.h), as far as it has kept its
// form since 2.6.32.
type vmaLayout struct {
	kernel.Layout `kernel:"struct vm_area_struct"`
	MM            kernel.U64 `kernel:"vm_mm"`
	File          kernel.U64 `kernel:"vm_file"`
}

// holders finds out who holds some dentries.
type holders struct {
	k      *kernel.Kernel
	tasks  *task.Details
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

// maxHolders is how many holders of a dentry are named.
const maxHolders = 8

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
	h.byMounts(fs.Mounts())
	if err := h.byTasks(ctx, fs); err != nil {
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

func (h *holders) byTasks(ctx context.Context, fs *vfs.FS) error {
	tasks, err := task.New(h.k)
	if err == nil {
		h.tasks, err = task.NewDetails(tasks, fs)
	}
	if err != nil {
		h.cover.Fail(fmt.Errorf("who holds a dentry: %w", err))
		return nil
	}
	all, _ := tasks.Find(h.cover.Fail)
	for _, t := range all {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m, err := h.tasks.More(t)
		if err != nil {
			h.cover.Fail(err)
			continue
		}
		h.once(m.FS, func() error { return h.byDirectories(t, m) })
		h.once(m.Files, func() error { return h.byFiles(t, m) })
		h.once(m.MM, func() error { return h.byProgram(t, m.MM) })
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

func (h *holders) byDirectories(t *task.Task, m *task.More) error {
	root, cwd, err := h.tasks.DirectoryDentries(m)
	if err != nil {
		return err
	}
	h.add(t, cwd, "cwd", nil, m.FS)
	h.add(t, root, "root", nil, m.FS)
	return nil
}

// byFiles ends with the first error; the other files are looked at all the same.
func (h *holders) byFiles(t *task.Task, m *task.More) error {
	var first error
	for d, err := range h.tasks.Descriptors(m) {
		dentry := uint64(0)
		if err == nil {
			dentry, err = h.dentryOf(d.File)
		}
		if err != nil && first == nil {
			first = err
		}
		if dentry != 0 {
			h.add(t, dentry, "fd", &d.FD, d.File)
		}
	}
	return first
}

// dentryOf is the dentry of a struct file if somebody asked for it, else 0.
func (h *holders) dentryOf(file uint64) (uint64, error) {
	if dentry, known := h.files[file]; known {
		return dentry, nil
	}
	dentry, err := h.tasks.FileDentry(file)
	if err != nil {
		return 0, err
	}
	if h.wanted[dentry] == nil {
		dentry = 0
	}
	h.files[file] = dentry
	return dentry, nil
}

func (h *holders) byProgram(t *task.Task, at uint64) error {
	h.mms[at] = *t
	file, err := h.tasks.Program(at)
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
	var vma vmaLayout
	if slabs == nil || h.tasks == nil {
		return nil
	}
	if err := h.k.Resolve(&vma); err != nil {
		h.cover.Fail(fmt.Errorf("who maps a file: %w", err))
		return nil
	}
	cache, err := slabs.ByName("vm_area_struct")
	if err != nil || cache.Size < vma.Span() {
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
			file, mm := vma.File.Get(b), vma.MM.Get(b)
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
