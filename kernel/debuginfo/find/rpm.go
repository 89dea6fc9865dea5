package find

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"

	"github.com/kmortem/mortem/dump/decompress"
)

// An RPM package, format version 3 and 4 (the RPM manual's "Package format"),
// is a lead of 96 bytes, a signature and a header of the same form, and the
// compressed payload, a cpio archive.
const (
	rpmMagic       = "\xed\xab\xee\xdb"
	rpmLeadSize    = 96
	rpmHeaderMagic = "\x8e\xad\xe8\x01"
	maxRPMHeader   = 256 << 20
)

var errRPM = errors.New("damaged RPM package")

// errLargeRPM is for packages whose payload has no sizes of its own (cpioStripped).
var errLargeRPM = errors.New("RPM package with files of 4 GB and more, which is not supported: unpack it (rpm2archive) and name its vmlinux")

// eachRPMMember walks the files of an RPM package.
func eachRPMMember(r io.ReaderAt, size int64, visit func(member) error) error {
	at := int64(rpmLeadSize)
	signature, err := rpmHeaderSize(r, at)
	if err != nil {
		return err
	}
	at += (signature + 7) &^ 7
	header, err := rpmHeaderSize(r, at)
	if err != nil {
		return err
	}
	at += header
	if at >= size {
		return errRPM
	}
	payload, err := decompress.File(io.NewSectionReader(r, at, size-at), size-at)
	if err != nil {
		return err
	}
	defer payload.Close()
	return eachCPIOMember(payload, visit)
}

// rpmHeaderSize is the length of a header: 16 bytes, the index, and the store.
func rpmHeaderSize(r io.ReaderAt, at int64) (int64, error) {
	start := make([]byte, 16)
	if _, err := r.ReadAt(start, at); err != nil {
		return 0, fmt.Errorf("%w: %w", errRPM, err)
	}
	size := 16 + 16*int64(binary.BigEndian.Uint32(start[8:])) + int64(binary.BigEndian.Uint32(start[12:]))
	if !bytes.HasPrefix(start, []byte(rpmHeaderMagic)) || size > maxRPMHeader {
		return 0, fmt.Errorf("%w: header at %#x", errRPM, at)
	}
	return size, nil
}

const (
	cpioHeaderSize = 110
	cpioTrailer    = "TRAILER!!!"
	cpioStripped   = "07070X" // sizes are in the package's header only
	modeType       = 0o170000
	modeRegular    = 0o100000
)

// eachCPIOMember walks a cpio archive in the "new ASCII" form, cpio(5): numbers
// are of eight hexadecimal digits, names and contents padded to 4 bytes.
// Packages with files of 4 GB and more use another form, which is refused.
func eachCPIOMember(r io.Reader, visit func(member) error) error {
	header := make([]byte, cpioHeaderSize)
	for {
		if _, err := io.ReadFull(r, header); err != nil {
			return fmt.Errorf("%w: cpio header: %w", errRPM, err)
		}
		switch magic := string(header[:6]); magic {
		case "070701", "070702":
		case cpioStripped:
			return errLargeRPM
		default:
			return fmt.Errorf("%w: cpio archive of form %q, which is not supported", errRPM, magic)
		}
		mode, err1 := cpioNumber(header, 1)
		size, err2 := cpioNumber(header, 6)
		length, err3 := cpioNumber(header, 11)
		if err := errors.Join(err1, err2, err3); err != nil || length == 0 || length > 1<<16 {
			return fmt.Errorf("%w: cpio header", errRPM)
		}
		name := make([]byte, length+(4-(cpioHeaderSize+length)%4)%4)
		if _, err := io.ReadFull(r, name); err != nil {
			return fmt.Errorf("%w: cpio name: %w", errRPM, err)
		}
		text := string(name[:length-1])
		if text == cpioTrailer {
			return nil
		}
		data := &io.LimitedReader{R: r, N: size}
		if mode&modeType == modeRegular && size > 0 {
			if err := visit(member{path.Clean("/" + text), size, data}); err != nil {
				return err
			}
		}
		if err := skip(r, data.N+(4-size%4)%4); err != nil {
			return fmt.Errorf("%w: %s: %w", errRPM, text, err)
		}
	}
}

// cpioNumber is the i-th number of a header.
func cpioNumber(header []byte, i int) (int64, error) {
	n, err := strconv.ParseUint(string(header[6+8*i:14+8*i]), 16, 32)
	return int64(n), err
}

// skip passes over n bytes, without unpacking them where r can do that.
func skip(r io.Reader, n int64) error {
	if s, ok := r.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekCurrent)
		return err
	}
	_, err := io.CopyN(io.Discard, r, n)
	return err
}
