package debuginfo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kmortem/mortem/dump/cache"
	"github.com/kmortem/mortem/kernel/debuginfo/dwarf"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
)

// indexStore keeps indexes in the cache directory, in files whose names are
// made of the build id and the sizes of the debug sections.
type indexStore struct {
	dir, key string
	open     []*mapfile.File
}

// newIndexStore returns the store for some sections, nil where none may be
// used or the file has no build id to know it by.
func newIndexStore(file *elffile.File, sections *dwarf.Sections, alt *dwarf.Sections, o *options) *indexStore {
	id := file.BuildID()
	if o.noCache || len(id) == 0 || file.Relocatable() {
		return nil
	}
	dir, err := cache.Dir(o.cacheDir, "index")
	if err != nil {
		return nil
	}
	h := sha256.New()
	fmt.Fprintf(h, "%x\n", id)
	for _, s := range []*dwarf.Sections{sections, alt} {
		if s != nil {
			fmt.Fprintln(h, len(s.Info), len(s.Types), len(s.Abbrev), len(s.Str), len(s.LineStr), len(s.StrOffsets))
		}
	}
	return &indexStore{dir: dir, key: hex.EncodeToString(id) + "-" + hex.EncodeToString(h.Sum(nil)[:8])}
}

func (s *indexStore) path(kind string) string { return filepath.Join(s.dir, s.key+"."+kind) }

// Load maps an index.
func (s *indexStore) Load(kind string) []byte {
	file, err := mapfile.Open(s.path(kind))
	if err != nil {
		return nil
	}
	s.open = append(s.open, file)
	return file.Data()
}

// Save writes an index.
func (s *indexStore) Save(kind string, data []byte) {
	if data == nil {
		return
	}
	_ = cache.Write(s.path(kind), func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

func (s *indexStore) close() {
	for _, file := range s.open {
		file.Close()
	}
}
