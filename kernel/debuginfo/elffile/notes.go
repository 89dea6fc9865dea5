package elffile

import (
	"debug/elf"
	"encoding/binary"

	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
)

const noteBuildID = 3 // NT_GNU_BUILD_ID

// BuildID is the GNU build id from the file's notes, nil if there is none.
// vmlinux has it in the section .notes, modules in .note.gnu.build-id; where
// there are no sections, the segments are looked at.
func (f *File) BuildID() []byte {
	var id []byte
	_ = mapfile.Guard(f.path, func() error {
		id = f.findBuildID()
		return nil
	})
	return id
}

func (f *File) findBuildID() []byte {
	for _, s := range f.elf.Sections {
		if s.Type != elf.SHT_NOTE {
			continue
		}
		if raw, err := f.raw(s); err == nil {
			if id := BuildIDFromNotes(raw, s.Addralign); id != nil {
				return id
			}
		}
	}
	size := uint64(len(f.m.Data()))
	for _, p := range f.elf.Progs {
		if p.Type != elf.PT_NOTE || p.Off > size || p.Filesz > size-p.Off {
			continue
		}
		if id := BuildIDFromNotes(f.m.Data()[p.Off:p.Off+p.Filesz], p.Align); id != nil {
			return id
		}
	}
	return nil
}

// BuildIDFromNotes finds the GNU build id in the bytes of a note section, nil
// if there is none. Notes are padded to 4 bytes, or to 8 where align says so.
func BuildIDFromNotes(data []byte, align uint64) []byte {
	if align != 8 {
		align = 4
	}
	pad := func(n uint64) uint64 { return (n + align - 1) &^ (align - 1) }
	le := binary.LittleEndian
	for uint64(len(data)) >= 12 {
		nameSize, descSize := uint64(le.Uint32(data)), uint64(le.Uint32(data[4:]))
		kind := le.Uint32(data[8:])
		desc := pad(12 + nameSize)
		if desc+descSize > uint64(len(data)) {
			return nil
		}
		name := data[12 : 12+nameSize]
		if kind == noteBuildID && string(name) == "GNU\x00" && descSize > 0 && descSize <= 64 {
			return append([]byte(nil), data[desc:desc+descSize]...)
		}
		next := pad(desc + descSize)
		if next > uint64(len(data)) {
			return nil
		}
		data = data[next:]
	}
	return nil
}
