package kernel

import (
	"bytes"
	"fmt"

	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// checkNotes compares the build id of the debug information with the one among
// the kernel's own notes, which are loaded with the image (.notes, between
// __start_notes and __stop_notes). It tells builds of one release apart where
// VMCOREINFO has no build id: before 5.9, and in dumps without VMCOREINFO.
func (k *Kernel) checkNotes(force bool) error {
	if _, told := k.image.Facts().VMCoreInfo.Get("BUILD-ID"); told || len(k.info.BuildID()) == 0 {
		return nil
	}
	loaded := k.loadedBuildID()
	if loaded == nil || bytes.Equal(loaded, k.info.BuildID()) {
		return nil
	}
	return k.mismatched(force, fmt.Sprintf("the dumped kernel has build id %x in its notes, %s has %x",
		loaded, k.info.Describe(), k.info.BuildID()))
}

// maxNotes bounds the size of .notes; real ones have a few hundred bytes.
const maxNotes = 64 << 10

// loadedBuildID is the build id among the notes in the dump's memory, nil where
// they cannot be read or have none.
func (k *Kernel) loadedBuildID() []byte {
	start, err := k.Symbol("__start_notes")
	if err != nil {
		return nil
	}
	stop, err := k.Symbol("__stop_notes")
	if err != nil || stop <= start || stop-start > maxNotes {
		return nil
	}
	notes := make([]byte, stop-start)
	if _, err := k.Read(notes, start); err != nil {
		return nil
	}
	return elffile.BuildIDFromNotes(notes, 4)
}
