package find

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kmortem/mortem/dump/cache"
	"github.com/kmortem/mortem/dump/unpack"
)

// member is a regular file in a package.
type member struct {
	name string // with / in front
	size int64
	data io.Reader
}

// isPackage tells RPM and DEB packages by their first bytes.
func isPackage(file string) bool {
	if unpack.IsPipe(file) {
		return false // looking would take the bytes away
	}
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	start := make([]byte, 8)
	n, _ := io.ReadFull(f, start)
	return bytes.HasPrefix(start[:n], []byte(rpmMagic)) || bytes.HasPrefix(start[:n], []byte(arMagic))
}

// errStop ends the walk over a package.
var errStop = errors.New("enough")

// eachMember calls visit with the regular files in a package, until it returns
// an error.
func eachMember(file string, visit func(member) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	start := make([]byte, 8)
	if _, err := f.ReadAt(start, 0); err != nil {
		return err
	}
	if bytes.HasPrefix(start, []byte(rpmMagic)) {
		err = eachRPMMember(f, info.Size(), visit)
	} else {
		err = eachDEBMember(f, info.Size(), visit)
	}
	if errors.Is(err, errStop) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// eachTarMember walks a tar archive. Where the archive can seek, members that
// nobody reads are passed over.
func eachTarMember(r io.Reader, visit func(member) error) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := visit(member{path.Clean("/" + h.Name), h.Size, archive}); err != nil {
			return err
		}
	}
}

// unpackKernel unpacks the vmlinux in a package, once, and returns its place
// in the cache directory.
func (s *search) unpackKernel(file string) (string, error) {
	return s.unpackMember(file, s.isKernel)
}

// isKernel tells the path of a vmlinux, or of its debug file, in a package.
func (s *search) isKernel(name string) bool {
	base := strings.TrimSuffix(path.Base(name), ".debug")
	if base == "vmlinux" {
		return s.Release == "" || strings.Contains(name, "/"+s.Release+"/") || !strings.Contains(name, "/lib/modules/")
	}
	release, ok := strings.CutPrefix(base, "vmlinux-")
	return ok && (s.Release == "" || release == s.Release)
}

// unpackMember unpacks the first file in a package that is wanted.
func (s *search) unpackMember(file string, wanted func(name string) bool) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	key, err := cache.FileKey(f)
	if err != nil {
		return "", err
	}
	dir, err := cache.Dir(s.CacheDir, filepath.Join("packages", key, "for-"+s.Release))
	if err != nil {
		return "", err
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "vmlinux*")); len(found) > 0 {
		return found[0], nil
	}
	target := ""
	err = eachMember(file, func(m member) error {
		if !wanted(m.name) {
			return s.ctx.Err()
		}
		target = filepath.Join(dir, path.Base(m.name))
		err := cache.Write(target, func(out *os.File) error {
			_, err := io.Copy(out, &progressReader{r: m.data, what: file, total: m.size, report: s.Progress})
			return err
		})
		if err != nil {
			return err
		}
		return errStop
	})
	if err == nil && target == "" {
		err = fmt.Errorf("%s: has no vmlinux of release %q", file, s.Release)
	}
	return target, err
}

// packages looks into the packages in the directories that the user named,
// whose names say that they are for the release.
func (s *search) packages() bool {
	if s.Release == "" {
		return false
	}
	for _, dir := range s.DebugDirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			s.note(dir, err.Error())
			continue
		}
		for _, e := range entries {
			if s.debugPackage(e.Name()) && s.tryPackage(filepath.Join(dir, e.Name())) {
				return true
			}
		}
	}
	return false
}

// debugPackage tells by its name whether a package is that of the release's
// debug information. A package's name has the release without the
// architecture that Fedora and Red Hat put behind it: that is in its own place.
func (s *search) debugPackage(name string) bool {
	switch filepath.Ext(name) {
	case ".deb", ".ddeb", ".rpm":
	default:
		return false
	}
	if !strings.Contains(name, "dbg") && !strings.Contains(name, "debuginfo") {
		return false
	}
	release := s.Release
	if i := strings.LastIndexByte(release, '.'); i > 0 && filepath.Ext(name) == ".rpm" {
		release = release[:i]
	}
	return strings.Contains(name, release)
}

func (s *search) tryPackage(file string) bool {
	unpacked, err := s.unpackKernel(file)
	if err != nil {
		s.note(file, err.Error())
		return false
	}
	s.note(file, "has a vmlinux, unpacked to "+unpacked)
	return s.try(unpacked) == nil
}
