// Package mapfile maps files into memory for reading, where the system can,
// and reads them to the heap elsewhere.
package mapfile

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"unsafe"
)

// File is the contents of a file.
type File struct {
	data   []byte
	mapped bool
}

// Open maps the file at a path. It refuses what is no regular file.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a %s, not a file", path, kindOf(info.Mode()))
	}
	m, err := mapOpen(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&os.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// InMemory is a File of bytes that are in memory already.
func InMemory(data []byte) *File { return &File{data: data} }

// Data are the contents; not to be written to, or used after Close.
func (f *File) Data() []byte { return f.data }

// Release lets go of the physical memory behind a part of Data, where it is
// mapped. The contents come back when they are touched again.
func (f *File) Release(part []byte) {
	if !f.mapped || len(part) == 0 {
		return
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(f.data)))
	if size := uintptr(len(f.data)); start < size && uintptr(len(part)) <= size-start {
		release(f.data, start, start+uintptr(len(part)))
	}
}

// Guard runs read, which touches mapped files, and turns the fault of a file
// that was cut short while it was in use into an error that names the file.
func Guard(path string, read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if fault, ok := r.(interface{ Addr() uintptr }); ok {
			err = fmt.Errorf("%s: the file was changed or cut short while it was in use (fault at %#x)", path, fault.Addr())
			return
		}
		panic(r)
	}()
	return read()
}

// readWhole reads the file to the heap.
func readWhole(f *os.File, size int64) (*File, error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		return nil, err
	}
	return &File{data: data}, nil
}
