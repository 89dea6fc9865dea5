package dump

import (
	"debug/elf"
	"encoding/binary"

	"github.com/kmortem/mortem/dump/unpack"
)

// refuse tells by the first bytes of a packed file, or of what comes out of a
// pipe, that it is certainly no dump, so that nobody waits until all of it is
// unpacked: a vmlinux.xz, a log, an archive.
func refuse(name string, head []byte) error {
	switch {
	case isELF(head):
		if t, ok := elfType(head); ok && t != elf.ET_CORE {
			return notACore(name, t)
		}
	case isFlattened(head), isKdump(head), unpack.Detect(head) != "":
	case isForeign(head), looksLikeText(head):
		return notADump(name, head)
	}
	return nil
}

// elfType is the type of an ELF file by its first bytes.
func elfType(head []byte) (elf.Type, bool) {
	if len(head) < 18 {
		return 0, false
	}
	switch elf.Data(head[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		return elf.Type(binary.LittleEndian.Uint16(head[16:])), true
	case elf.ELFDATA2MSB:
		return elf.Type(binary.BigEndian.Uint16(head[16:])), true
	}
	return 0, false
}
