package dump

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Source is one file of a dump for OpenSources: random-access bytes from
// wherever they come.
type Source struct {
	Name     string      // for messages and Facts.Files
	Size     int64       // in bytes
	ReaderAt io.ReaderAt // must serve reads from many goroutines at once
	Closer   io.Closer   // called by Image.Close; may be nil
}

// Prefetcher is what the io.ReaderAt of a Source may implement to be told what
// will be read next: n bytes from the file offset off on. WillNeed must return at
// once.
type Prefetcher interface{ WillNeed(off, n int64) }

// store is the random-access bytes of one dump file: a mapping, an
// io.ReaderAt, or the records of a flattened file put in order.
type store interface {
	name() string
	size() int64

	// view returns the n bytes at offset off. Bytes that lie in a mapping
	// are not copied and stay valid until close; others are read into buf
	// where it is large enough, else into a new buffer. A range that reaches
	// past the end gives an error wrapping io.ErrUnexpectedEOF.
	view(off int64, n int, buf []byte) ([]byte, error)

	// mapped tells whether view is free of system calls and copies for
	// nearly all ranges.
	mapped() bool

	// heap is the largest number of bytes that a header may make us hold in
	// memory: what the file really holds, whatever size it pretends to.
	heap() int64

	// locate translates an offset into the place in the real file.
	locate(off int64) int64

	// willNeed tells the system that a range will be read soon.
	willNeed(off, n int64)

	close() error
}

// inStore tells whether [off, off+n) lies within a file of the given size,
// without overflowing on any input.
func inStore(off int64, n, size int64) bool {
	return off >= 0 && n >= 0 && off <= size && n <= size-off
}

// errRead: the bytes could not be had, whatever they are.
var errRead = errors.New("cannot be read")

// errPastEnd is what a view of bytes behind the end of a file gives.
func errPastEnd(s store, off int64, n int) error {
	return fmt.Errorf("%d bytes at offset %#x reach past the end of the file (%d bytes): %w",
		n, off, s.size(), io.ErrUnexpectedEOF)
}

// readerStore reads through an io.ReaderAt.
type readerStore struct {
	Source
	origin
}

func (s *readerStore) name() string           { return s.Name }
func (s *readerStore) size() int64            { return s.Size }
func (s *readerStore) mapped() bool           { return false }
func (s *readerStore) heap() int64            { return s.Size }
func (s *readerStore) locate(off int64) int64 { return off }

func (s *readerStore) willNeed(off, n int64) {
	if r, ok := s.ReaderAt.(Prefetcher); ok && inStore(off, n, s.Size) {
		r.WillNeed(off, n)
	}
}

func (s *readerStore) view(off int64, n int, buf []byte) ([]byte, error) {
	if !inStore(off, int64(n), s.Size) {
		return nil, errPastEnd(s, off, n)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if got, err := s.ReaderAt.ReadAt(buf, off); got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%w: %d bytes at offset %#x: %w", errRead, n, off, err)
	}
	return buf, nil
}

func (s *readerStore) close() error {
	if s.Closer == nil {
		return nil
	}
	return s.Closer.Close()
}

// mappedStore is a file mapped into memory as a whole.
type mappedStore struct {
	path   string
	data   []byte
	sparse *os.File // kept open where the file has holes, to be asked where; else nil
	origin
}

func (s *mappedStore) name() string           { return s.path }
func (s *mappedStore) size() int64            { return int64(len(s.data)) }
func (s *mappedStore) mapped() bool           { return true }
func (s *mappedStore) heap() int64            { return int64(len(s.data)) }
func (s *mappedStore) locate(off int64) int64 { return off }

func (s *mappedStore) view(off int64, n int, _ []byte) ([]byte, error) {
	if !inStore(off, int64(n), int64(len(s.data))) {
		return nil, errPastEnd(s, off, n)
	}
	return s.data[off : off+int64(n) : off+int64(n)], nil
}

func (s *mappedStore) willNeed(off, n int64) {
	if inStore(off, n, int64(len(s.data))) {
		adviseWillNeed(s.data, off, n)
	}
}

func (s *mappedStore) close() error {
	data := s.data
	s.data = nil
	forgetMapping(data)
	if s.sparse != nil {
		_ = s.sparse.Close() // opened for reading only
	}
	return unmapFile(data)
}

// openStore opens a file, mapped where that is possible.
func openStore(path string, noMap bool) (store, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileOpenError(path, err)
	}
	return openFile(f, path, noMap)
}

// openFile is openStore for a file that is open, and which it closes if need
// be.
func openFile(f *os.File, name string, noMap bool) (store, error) {
	size, err := fileSize(f, name)
	if err != nil {
		f.Close()
		return nil, err
	}
	if !noMap {
		if data, err := mapFile(f, size); err == nil {
			s := &mappedStore{path: name, data: data}
			if hasHoles(f) {
				s.sparse = f
			} else {
				f.Close()
			}
			rememberMapping(name, data)
			return s, nil
		}
	}
	return &readerStore{Source: Source{Name: name, Size: size, ReaderAt: f, Closer: f}}, nil
}

// fileSize is the size of a file that has bytes to be read at random.
func fileSize(f *os.File, name string) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, fileOpenError(name, err)
	}
	if err := checkFileKind(name, st); err != nil {
		return 0, err
	}
	size := st.Size()
	if st.Mode()&os.ModeDevice != 0 {
		// A block device says its size only to those who seek.
		if size, err = f.Seek(0, io.SeekEnd); err != nil {
			return 0, fileOpenError(name, err)
		}
	}
	if size == 0 {
		return 0, &FileError{File: name, Offset: -1, Kind: ErrFormat, What: "the file is empty"}
	}
	return size, nil
}

// fileOpenError words the failures that people run into.
func fileOpenError(path string, err error) error {
	what := ""
	switch {
	case errors.Is(err, os.ErrNotExist):
		what = "no such file"
	case errors.Is(err, os.ErrPermission):
		what = "permission denied; read access to the file is needed"
	default:
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		what = err.Error()
	}
	return &FileError{File: path, Offset: -1, What: what, Err: err}
}

// checkFileKind refuses what has no random-access bytes.
func checkFileKind(path string, st os.FileInfo) error {
	what := ""
	switch mode := st.Mode(); {
	case mode.IsDir():
		what = "a directory; name the dump file in it"
	case mode&os.ModeNamedPipe != 0 || mode&os.ModeSocket != 0:
		what = "a pipe; save it into a file first"
	case mode&os.ModeCharDevice != 0:
		what = "a character device"
	default:
		return nil
	}
	return &FileError{File: path, Offset: -1, Kind: ErrFormat, What: what}
}
