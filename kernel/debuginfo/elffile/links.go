package elffile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
)

// DebugLink returns the file name in .gnu_debuglink, which has the debug
// sections that were taken out of this file, and the CRC-32 of that file; an
// empty name where there is no link.
func (f *File) DebugLink() (name string, crc uint32) {
	data, err := f.Section(".gnu_debuglink")
	if err != nil {
		return "", 0
	}
	err = mapfile.Guard(f.path, func() error {
		end := bytes.IndexByte(data, 0)
		sum := (end + 4) &^ 3 // padded to 4 bytes
		if end <= 0 || sum+4 > len(data) {
			return nil
		}
		name, crc = string(data[:end]), binary.LittleEndian.Uint32(data[sum:])
		return nil
	})
	if err != nil {
		return "", 0
	}
	return name, crc
}

// AltLink returns the name and the id of the file that dwz moved to what
// several files have in common: from .gnu_debugaltlink, where the id is the
// build id, or from .debug_sup (DWARF 5, section 7.3.6).
func (f *File) AltLink() (name string, id []byte) {
	data, err := f.Section(".gnu_debugaltlink")
	if err != nil {
		return "", nil
	}
	_ = mapfile.Guard(f.path, func() error {
		if end := bytes.IndexByte(data, 0); end > 0 {
			name, id = string(data[:end]), bytes.Clone(data[end+1:])
		} else if supplementary, other, sum := f.supplement(); !supplementary {
			name, id = other, sum
		}
		return nil
	})
	return name, id
}

// SupplementID is the id by which AltLink refers to this file.
func (f *File) SupplementID() []byte {
	var id []byte
	_ = mapfile.Guard(f.path, func() error {
		if supplementary, _, sum := f.supplement(); supplementary {
			id = sum
		}
		return nil
	})
	if id == nil {
		id = f.BuildID()
	}
	return id
}

// supplement reads .debug_sup: version, a byte that tells whether the file is
// the supplement itself, the name of the supplement, and its checksum with its
// length before it.
func (f *File) supplement() (supplementary bool, name string, sum []byte) {
	data, err := f.Section(".debug_sup")
	if err != nil || len(data) < 5 || binary.LittleEndian.Uint16(data) != 5 {
		return false, "", nil
	}
	end := bytes.IndexByte(data[3:], 0)
	if end < 0 {
		return false, "", nil
	}
	rest := data[3+end+1:]
	if len(rest) == 0 || rest[0] > 64 || len(rest) < 1+int(rest[0]) {
		return false, "", nil
	}
	return data[2] == 1, string(data[3 : 3+end]), bytes.Clone(rest[1 : 1+rest[0]])
}

// CheckCRC tells whether a file has the CRC-32 that a debug link asks for. It
// returns nil if so, and else an error that says what it has, or why it cannot
// be read.
func CheckCRC(path string, want uint32) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := sum.Sum32(); got != want {
		return fmt.Errorf("%s: has CRC %08x where the debug link asks for %08x: it belongs to another build", path, got, want)
	}
	return nil
}
