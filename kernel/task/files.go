package task

import (
	"fmt"
	"iter"
	"math/bits"

	"github.com/kmortem/mortem/kernel"
)

// fdtableLayout is struct fdtable (include/linux/fdtable.h). open_fds is a pointer to
// a bitmap of max_fds bits in all releases.
type fdtableLayout struct {
	kernel.Layout `kernel:"struct fdtable"`
	Max           kernel.U32 `kernel:"max_fds"`
	Files         kernel.U64 `kernel:"fd"`
	Open          kernel.U64 `kernel:"open_fds"`
}

// fileLayout is struct file (include/linux/fs.h).
type fileLayout struct {
	kernel.Layout `kernel:"struct file"`
	Mount         kernel.U64  `kernel:"f_path.mnt"`
	Dentry        kernel.U64  `kernel:"f_path.dentry"`
	Flags         kernel.U32  `kernel:"f_flags"`
	Pos           kernel.U64  `kernel:"f_pos"`
	Mode          kernel.Uint `kernel:"f_mode,optional"`
}

// fsLayout is struct fs_struct (include/linux/fs_struct.h).
type fsLayout struct {
	kernel.Layout `kernel:"struct fs_struct"`
	RootMount     kernel.U64 `kernel:"root.mnt"`
	Root          kernel.U64 `kernel:"root.dentry"`
	CwdMount      kernel.U64 `kernel:"pwd.mnt"`
	Cwd           kernel.U64 `kernel:"pwd.dentry"`
}

type filesReader struct {
	files struct {
		kernel.Layout `kernel:"struct files_struct"`
		Table         kernel.U64 `kernel:"fdt"`
	}
	table fdtableLayout
	file  fileLayout
	fs    fsLayout
}

func (f *filesReader) resolve(k *kernel.Kernel) error {
	for _, l := range []any{&f.files, &f.table, &f.file, &f.fs} {
		if err := k.Resolve(l); err != nil {
			return err
		}
	}
	return nil
}

// File is one open file: a struct file (include/linux/fs.h).
type File struct {
	FD     int
	Addr   uint64 // virtual address of the struct file
	Dentry uint64
	Path   string // as in /proc/PID/fd, escaped
	Flags  uint32 // as of open(2)
	Pos    int64  // bytes
}

// maxFiles bounds a table of descriptors: fs.nr_open is at most 2^31 by its type,
// and 2^20 as a rule.
const maxFiles = 1 << 24

// Descriptor is one that is open: an entry of struct fdtable
// (include/linux/fdtable.h).
type Descriptor struct {
	FD   int
	File uint64 // virtual address of the struct file
}

// Descriptors yields the open descriptors of a task, in order; a task that exited has
// none. An error is that of one of them, or of the table of all.
func (d *Details) Descriptors(m *More) iter.Seq2[Descriptor, error] {
	return func(yield func(Descriptor, error) bool) {
		if m.Files == 0 {
			return
		}
		table, err := d.k.Uint64(m.Files + d.files.files.Table.Offset())
		if err != nil {
			yield(Descriptor{}, fmt.Errorf("struct files_struct at %#x: %w", m.Files, err))
			return
		}
		l := &d.files.table
		b, err := d.k.Peek(table, make([]byte, l.Span()))
		if err != nil {
			yield(Descriptor{}, fmt.Errorf("struct fdtable at %#x: %w", table, err))
			return
		}
		most, pointers := l.Max.Get(b), l.Files.Get(b)
		if most > maxFiles {
			yield(Descriptor{}, fmt.Errorf("struct fdtable at %#x: %d descriptors cannot be", table, most))
			return
		}
		bitmap := make([]byte, (most+63)/64*8)
		if _, err := d.k.Read(bitmap, l.Open.Get(b)); err != nil {
			yield(Descriptor{}, fmt.Errorf("struct fdtable at %#x: open_fds: %w", table, err))
			return
		}
		for i, word := range words(bitmap) {
			for ; word != 0; word &= word - 1 {
				fd := 64*i + bits.TrailingZeros64(word)
				file, err := d.k.Uint64(pointers + 8*uint64(fd))
				switch {
				case err != nil:
					err = fmt.Errorf("descriptor %d: %w", fd, err)
				case file == 0:
					continue // it is only taken, and has no file yet
				}
				if !yield(Descriptor{FD: fd, File: file}, err) {
					return
				}
			}
		}
	}
}

// Files are the open files of a task, by descriptor. A task that exited has none.
// What was read comes with the first error.
func (d *Details) Files(m *More) ([]File, error) {
	var list []File
	var first error
	for one, err := range d.Descriptors(m) {
		var f *File
		if err == nil {
			if f, err = d.File(one.File); err != nil {
				err = fmt.Errorf("descriptor %d: %w", one.FD, err)
			}
		}
		if err != nil && first == nil {
			first = err
		}
		if f != nil {
			f.FD = one.FD
			list = append(list, *f)
		}
	}
	return list, first
}

// FileDentry is the dentry of the struct file at a kernel virtual address. It
// is a kernel virtual address as well; the error wraps a *kernel.ReadError.
func (d *Details) FileDentry(addr uint64) (uint64, error) {
	dentry, err := d.k.Uint64(addr + d.files.file.Dentry.Offset())
	if err != nil {
		return 0, fmt.Errorf("struct file at %#x: %w", addr, err)
	}
	return dentry, nil
}

// File reads the struct file at a kernel virtual address. Its path may be incomplete
// where it comes with an error.
func (d *Details) File(addr uint64) (*File, error) {
	l := &d.files.file
	b, err := d.k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct file at %#x: %w", addr, err)
	}
	f := &File{Addr: addr, Dentry: l.Dentry.Get(b), Flags: l.Flags.Get(b), Pos: int64(l.Pos.Get(b))}
	if f.Path, err = d.paths.of(l.Mount.Get(b), f.Dentry); err != nil {
		return f, fmt.Errorf("struct file at %#x: %w", addr, err)
	}
	return f, nil
}

// Directories are a task's root and current directory, as paths. They are empty for
// a task that exited. What can be told of them comes with the error where a name or
// a mount cannot be read.
func (d *Details) Directories(m *More) (root, cwd string, err error) {
	b, err := d.directories(m)
	if b == nil {
		return "", "", err
	}
	l := &d.files.fs
	root, err = d.paths.of(l.RootMount.Get(b), l.Root.Get(b))
	cwd, cwdErr := d.paths.of(l.CwdMount.Get(b), l.Cwd.Get(b))
	if err == nil {
		err = cwdErr
	}
	return root, cwd, err
}

// DirectoryDentries are the dentries of a task's root and current directory, 0 for a
// task that exited. They are kernel virtual addresses; the error wraps a
// *kernel.ReadError where the struct fs_struct (include/linux/fs_struct.h) cannot be
// read.
func (d *Details) DirectoryDentries(m *More) (root, cwd uint64, err error) {
	b, err := d.directories(m)
	if b == nil {
		return 0, 0, err
	}
	return d.files.fs.Root.Get(b), d.files.fs.Cwd.Get(b), nil
}

// directories reads a task's struct fs_struct, nil for one that exited.
func (d *Details) directories(m *More) ([]byte, error) {
	if m.FS == 0 {
		return nil, nil
	}
	b, err := d.k.Peek(m.FS, make([]byte, d.files.fs.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct fs_struct at %#x: %w", m.FS, err)
	}
	return b, nil
}

// openFlags are the flags of open(2) on x86-64 and arm64 that a reader wants to see;
// O_DIRECT and O_DIRECTORY differ between these, and are left out.
var openFlags = []struct {
	bit  uint32
	name string
}{{0o2000, "APPEND"}, {0o4000, "NONBLOCK"}, {0o10000, "DSYNC"}, {0o2000000, "CLOEXEC"}, {0o10000000, "PATH"}}

// FlagNames names what the file was opened for: RDONLY, WRONLY or RDWR, and more.
func (f *File) FlagNames() []string {
	list := []string{[]string{"RDONLY", "WRONLY", "RDWR", "3"}[f.Flags&3]}
	for _, o := range openFlags {
		if f.Flags&o.bit != 0 {
			list = append(list, o.name)
		}
	}
	return list
}
