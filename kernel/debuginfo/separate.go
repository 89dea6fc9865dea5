package debuginfo

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// systemDebugDir is where distributions install separated debug files.
const systemDebugDir = "/usr/lib/debug"

// DebugDir adds a directory that is searched for separated debug files: for
// .build-id/xx/yyyy.debug, and for the path of the file with the debug link.
// /usr/lib/debug is always searched, after those given.
func DebugDir(dirs ...string) Option {
	return func(o *options) { o.debugDirs = append(o.debugDirs, dirs...) }
}

func (o *options) searched() []string {
	return append(o.debugDirs[:len(o.debugDirs):len(o.debugDirs)], systemDebugDir)
}

// BuildIDPath is the place of a file in a tree of build ids:
// .build-id/xx/yyyy followed by the suffix.
func BuildIDPath(dir string, id []byte, suffix string) string {
	if len(id) < 2 {
		return ""
	}
	s := hex.EncodeToString(id)
	return filepath.Join(dir, ".build-id", s[:2], s[2:]+suffix)
}

// separated finds the file with the debug sections of one that has none, by
// its build id or its debug link; nil where there is none.
func separated(file *elffile.File, o *options) (*elffile.File, error) {
	id := file.BuildID()
	for _, dir := range o.searched() {
		if found := openMatching(BuildIDPath(dir, id, ".debug"), id); found != nil {
			return found, nil
		}
	}
	name, crc := file.DebugLink()
	if name == "" || filepath.Base(name) != name {
		return nil, nil
	}
	var mismatch error
	for _, path := range linkPlaces(file.Path(), name, o.searched()) {
		found, err := elffile.Open(path)
		if err != nil {
			continue
		}
		if err := matches(found, id, crc); err != nil {
			mismatch = err
			found.Close()
			continue
		}
		return found, nil
	}
	return nil, mismatch
}

// linkPlaces are the places that gdb looks at for a debug link, in its order.
func linkPlaces(path, name string, debugDirs []string) []string {
	dir := filepath.Dir(path)
	places := []string{filepath.Join(dir, name), filepath.Join(dir, ".debug", name)}
	if abs, err := filepath.Abs(dir); err == nil {
		for _, root := range debugDirs {
			places = append(places, filepath.Join(root, abs, name))
		}
	}
	return places
}

// matches tells whether a debug file belongs to the build.
func matches(found *elffile.File, id []byte, crc uint32) error {
	if other := found.BuildID(); len(id) > 0 && len(other) > 0 {
		if !bytes.Equal(id, other) {
			return fmt.Errorf("%s: has build id %x where %x is needed", found.Path(), other, id)
		}
		return nil
	}
	return elffile.CheckCRC(found.Path(), crc)
}

// openMatching opens a debug file that has an id, nil if there is none.
func openMatching(path string, id []byte) *elffile.File {
	if path == "" {
		return nil
	}
	found, err := elffile.Open(path)
	if err != nil {
		return nil
	}
	if !bytes.Equal(found.SupplementID(), id) || !found.HasSection(".debug_info") {
		found.Close()
		return nil
	}
	return found
}

// alternate opens the file that a debug file shares with others (made by dwz),
// nil where there is none.
func alternate(file *elffile.File, o *options) (*elffile.File, error) {
	name, id := file.AltLink()
	if name == "" {
		return nil, nil
	}
	places := []string{name}
	if !filepath.IsAbs(name) {
		places = []string{filepath.Join(filepath.Dir(file.Path()), name)}
	}
	for _, dir := range o.searched() {
		places = append(places, BuildIDPath(dir, id, ".debug"), filepath.Join(dir, ".dwz", filepath.Base(name)))
	}
	for _, path := range places {
		if found := openMatching(path, id); found != nil {
			return found, nil
		}
	}
	return nil, fmt.Errorf("%s: the file %s that it shares debug information with (made by dwz) is not found: %w", file.Path(), name, errShared)
}

var errShared = errors.New("debug information is incomplete")
