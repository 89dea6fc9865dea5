package find

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

// Modules finds the debug information of the modules of one kernel. It looks
// through the trees of modules once. Its methods are not safe for use by
// several goroutines.
type Modules struct {
	s     *search
	trees map[string][]string // module name to paths, best first
}

// ForModules makes a finder of the modules of the kernel that the query is
// about. Vmlinux and BuildID of the query are not used.
func ForModules(ctx context.Context, q Query) *Modules {
	q.Vmlinux, q.BuildID = "", nil
	return &Modules{s: newSearch(ctx, q)}
}

// Find looks for a module by name and, where it is known, by build id. The
// error wraps ErrNotFound, or ErrMismatch where there is one of another build;
// the Result that comes with it has what was tried.
func (m *Modules) Find(name string, id []byte) (*Result, error) {
	s := &search{Query: m.s.Query, ctx: m.s.ctx}
	s.BuildID = id
	if s.buildIDTrees() {
		return s.result()
	}
	if m.trees == nil {
		m.trees = s.walkModules()
	}
	for _, path := range m.trees[normal(name)] {
		if s.try(path) == nil && s.sound() {
			return s.result()
		}
	}
	if s.debuginfod() {
		return s.result()
	}
	r := &Result{Attempts: s.attempts}
	if s.mismatch != nil {
		return r, s.mismatch
	}
	return r, fmt.Errorf("%w for module %s of %s", ErrNotFound, name, s.Release)
}

// sound refuses files that are open but have no types, such as a module whose
// debug sections were taken out.
func (s *search) sound() bool {
	names, ok := s.found.Source.(debuginfo.Names)
	if !ok {
		return true
	}
	for range names.Types() {
		return true
	}
	s.found.Source.Close()
	s.found = nil
	s.attempts[len(s.attempts)-1].Outcome = "has no types"
	return false
}

// normal is a module's name as the kernel has it: in file names a minus can
// stand for an underscore.
func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// maxWalked bounds the walk through trees of modules; distributions have some
// 5,000 modules.
const maxWalked = 200_000

// walkModules lists the modules below lib/modules/RELEASE in all places, debug
// files before modules.
func (s *search) walkModules() map[string][]string {
	found := map[string][]string{}
	if s.Release == "" {
		return found
	}
	n := 0
	for _, root := range s.moduleTrees() {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // what cannot be read is passed over
			}
			if n++; n > maxWalked {
				return fs.SkipAll
			}
			if name := moduleName(filepath.Base(path)); name != "" && !d.IsDir() {
				found[name] = append(found[name], path)
			}
			return nil
		})
	}
	return found
}

// moduleTrees are the directories that modules of the release are below.
func (s *search) moduleTrees() []string {
	var roots []string
	for _, dir := range s.DebugDirs {
		roots = append(roots, filepath.Join(dir, "lib/modules", s.Release), filepath.Join(dir, "usr/lib/modules", s.Release), filepath.Join(dir, s.Release), dir)
	}
	for _, dir := range []string{"/usr/lib/debug/lib/modules", "/usr/lib/debug/usr/lib/modules", "/lib/modules"} {
		roots = append(roots, filepath.Join(s.root, dir, s.Release))
	}
	return roots
}

// moduleName is the name of the module in a file, empty for other files.
func moduleName(base string) string {
	for _, suffix := range []string{".xz", ".zst", ".gz"} {
		base = strings.TrimSuffix(base, suffix)
	}
	base = strings.TrimSuffix(base, ".debug")
	name, ok := strings.CutSuffix(base, ".ko")
	if !ok {
		return ""
	}
	return normal(name)
}
