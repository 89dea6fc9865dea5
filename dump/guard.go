package dump

import (
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"unsafe"
)

// Guard runs fn and turns a fault on the mapping of a dump file into an error
// that wraps ErrMissing. Such a fault happens when somebody cuts a dump short
// while it is open, or when the disk under it fails. All other panics go
// through. The methods of an Image guard themselves; callers need Guard only
// around code that touches the bytes of a view. fn must touch them on the
// goroutine that it is called on.
func Guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			err = faultError(r)
		}
	}()
	return fn()
}

// faultError is the error for a recovered panic, which it raises again if it
// is no fault on one of our mappings.
func faultError(r any) error {
	if fault, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	}); ok {
		if path, off, ok := findMapping(fault.Addr()); ok {
			return &ReadError{Addr: NoAddr, Kind: ErrMissing, File: path, Offset: off,
				Err: errFault}
		}
	}
	panic(r)
}

var errFault = errors.New("the file was cut short or its disk failed while it was being read")

// mappings are the files mapped at the moment; looked at only after a fault.
var mappings struct {
	sync.Mutex
	list []mapping
}

type mapping struct {
	path  string
	start uintptr
	size  uintptr
}

func rememberMapping(path string, data []byte) {
	mappings.Lock()
	defer mappings.Unlock()
	mappings.list = append(mappings.list, mapping{path, dataAddr(data), uintptr(len(data))})
}

func forgetMapping(data []byte) {
	mappings.Lock()
	defer mappings.Unlock()
	start := dataAddr(data)
	mappings.list = slices.DeleteFunc(mappings.list, func(m mapping) bool { return m.start == start })
}

// findMapping tells which file is mapped at an address, and its offset there.
func findMapping(addr uintptr) (path string, off int64, ok bool) {
	mappings.Lock()
	defer mappings.Unlock()
	for _, m := range mappings.list {
		if addr-m.start < m.size {
			return m.path, int64(addr - m.start), true
		}
	}
	return "", 0, false
}

func dataAddr(data []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(data))) }

// guardedPage calls fn with a page whose bytes may lie in a mapping. A page
// that faults while fn reads it is handed out again with the error in place of
// its bytes.
func guardedPage(worker int, p Page, fn func(worker int, p Page) error) error {
	var own error
	err := Guard(func() error {
		own = fn(worker, p)
		return nil
	})
	if err == nil {
		return own
	}
	var re *ReadError
	if errors.As(err, &re) {
		re.Addr = p.Addr
	}
	return fn(worker, Page{Addr: p.Addr, Err: err})
}
