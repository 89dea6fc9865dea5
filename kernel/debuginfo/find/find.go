// Package find looks for the debug information of a dumped kernel and of its
// modules: in the files and directories that the user names, where
// distributions install it, in RPM and DEB packages, and at debuginfod servers.
// It keeps account of what it looked at, for that is the first question when
// nothing is found.
package find

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

// Query says what is looked for, and where.
type Query struct {
	Release string // as uname -r has it; empty if unknown
	BuildID []byte // nil if unknown: kernels before 5.9 do not tell theirs in a dump

	// Vmlinux is a file that the user named: vmlinux, a debug file, a pack
	// file, or a package. Nothing else is then looked at.
	Vmlinux string
	// DebugDirs are looked at before the system's own places.
	DebugDirs []string
	// Force takes a file whose build id is another one.
	Force bool

	// URLs are those of debuginfod servers; nil stands for DEBUGINFOD_URLS.
	URLs []string
	// Offline asks no server.
	Offline bool

	// CacheDir is where files out of packages are kept; see debuginfo.CacheDir.
	CacheDir string
	// Progress, where set, is called during downloads and unpacking, with the
	// total in bytes or 0 if it is unknown.
	Progress func(what string, done, total int64)
	// Options are passed on to debuginfo.Open.
	Options []debuginfo.Option

	root string // before the system's places, for tests
}

// Attempt is one place that was looked at.
type Attempt struct {
	Place   string `json:"place"`   // a path, or the URL of a server
	Outcome string `json:"outcome"` // "not there", "matches", or what is wrong
}

// Result is what was found.
type Result struct {
	Source debuginfo.Source `json:"-"`
	Path   string           `json:"path"` // of the file that was opened
	// Matched tells how sure it is that it belongs to the dump: "build id"; where
	// a build id is unknown on either side, "release" for one in the file's path
	// and "nothing" for one that only lies where it was looked for; or "forced".
	// kernel.Open compares linux_banner with the dump.
	Matched  string    `json:"matched"`
	Attempts []Attempt `json:"attempts"` // in the order in which they were made
}

// ErrNotFound is wrapped by the error for debug information that is nowhere.
var ErrNotFound = errors.New("no debug information found")

// ErrMismatch is wrapped by the error for a file of another build.
var ErrMismatch = errors.New("debug information of another build")

// search is a search under way.
type search struct {
	Query
	ctx      context.Context
	attempts []Attempt
	mismatch error
	found    *Result
}

// releaseForm is what a release may consist of. One from a dump may be anything,
// and it becomes part of paths.
var releaseForm = regexp.MustCompile(`^[A-Za-z0-9_+~-][A-Za-z0-9._+~-]*$`)

// newSearch begins a search. A release that cannot be one is taken for unknown.
func newSearch(ctx context.Context, q Query) *search {
	if !releaseForm.MatchString(q.Release) {
		q.Release = ""
	}
	return &search{Query: q, ctx: ctx}
}

// Kernel looks for the debug information of a kernel. The result is there also
// with an error, without a Source, and tells where it looked.
func Kernel(ctx context.Context, q Query) (*Result, error) {
	s := newSearch(ctx, q)
	if q.Vmlinux != "" {
		return s.named(q.Vmlinux)
	}
	for _, step := range []func() bool{s.buildIDTrees, s.installed, s.packages, s.debuginfod} {
		if step() {
			break
		}
	}
	return s.result()
}

// result makes the answer, found or not.
func (s *search) result() (*Result, error) {
	if s.found != nil {
		s.found.Attempts = s.attempts
		return s.found, nil
	}
	r := &Result{Attempts: s.attempts}
	if s.mismatch != nil {
		return r, s.mismatch
	}
	what := s.Release
	if len(s.BuildID) > 0 {
		what = fmt.Sprintf("%s (build id %x)", what, s.BuildID)
	}
	return r, fmt.Errorf("%w for kernel %s in %d places; install its debug package, or name its vmlinux", ErrNotFound, what, len(s.attempts))
}

func (s *search) note(place, outcome string) {
	s.attempts = append(s.attempts, Attempt{place, outcome})
}

// named opens the file that the user named.
func (s *search) named(path string) (*Result, error) {
	file := path
	if isPackage(path) {
		unpacked, err := s.unpackKernel(path)
		if err != nil {
			s.note(path, err.Error())
			return &Result{Attempts: s.attempts}, err
		}
		s.note(path, "has a vmlinux, unpacked to "+unpacked)
		file = unpacked
	}
	if err := s.try(file); err != nil {
		return &Result{Attempts: s.attempts}, err
	}
	return s.result()
}

// try opens a file and checks the build id. It returns an error for a file
// that is there but does not do.
func (s *search) try(path string) error {
	src, err := debuginfo.Open(path, s.options()...)
	if err != nil {
		outcome := err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			outcome = "not there"
		}
		s.note(path, outcome)
		return err
	}
	id := src.BuildID()
	matched := "build id"
	switch {
	case len(s.BuildID) == 0 || len(id) == 0:
		matched = s.byName(path)
	case !bytes.Equal(id, s.BuildID) && s.Force:
		matched = "forced"
	case !bytes.Equal(id, s.BuildID):
		src.Close()
		err := fmt.Errorf("%s: %w: it has build id %x, the dumped kernel %x", path, ErrMismatch, id, s.BuildID)
		s.note(path, fmt.Sprintf("is of another build (build id %x)", id))
		if s.mismatch == nil {
			s.mismatch = err
		}
		return err
	}
	s.note(path, "matches by "+matched)
	if matched == "forced" {
		s.attempts[len(s.attempts)-1].Outcome = fmt.Sprintf("is of another build (build id %x), but taken by force", id)
	}
	s.found = &Result{Source: src, Path: path, Matched: matched}
	return nil
}

// byName tells how a file was matched where there are no build ids to compare.
func (s *search) byName(path string) string {
	if s.Release != "" && strings.Contains(path, s.Release) {
		return "release"
	}
	return "nothing"
}

func (s *search) options() []debuginfo.Option {
	own := []debuginfo.Option{debuginfo.CacheDir(s.CacheDir), debuginfo.DebugDir(s.DebugDirs...), debuginfo.WithContext(s.ctx)}
	if s.Progress != nil {
		own = append(own, debuginfo.Progress(s.Progress))
	}
	return append(own, s.Options...)
}

// dirs are the directories of debug files.
func (s *search) dirs() []string {
	return append(s.DebugDirs[:len(s.DebugDirs):len(s.DebugDirs)], filepath.Join(s.root, "/usr/lib/debug"))
}

// buildIDTrees looks for the build id in trees of such.
func (s *search) buildIDTrees() bool {
	if len(s.BuildID) == 0 {
		return false
	}
	for _, dir := range s.dirs() {
		path := debuginfo.BuildIDPath(dir, s.BuildID, ".debug")
		if s.tryExisting(path) {
			return true
		}
	}
	return false
}

// tryExisting tries a file and notes that it is not there without opening it.
func (s *search) tryExisting(path string) bool {
	if _, err := os.Stat(path); err != nil {
		s.note(path, "not there")
		return false
	}
	return s.try(path) == nil
}

// installed looks where distributions, and people, put vmlinux.
func (s *search) installed() bool {
	for _, path := range s.kernelPlaces() {
		for _, suffix := range []string{"", ".xz", ".zst", ".gz"} {
			if _, err := os.Stat(path + suffix); err == nil {
				if s.try(path+suffix) == nil {
					return true
				}
				break
			} else if suffix == ".gz" {
				s.note(path+"[.xz|.zst|.gz]", "not there")
			}
		}
	}
	return false
}

// kernelPlaces are the paths at which a vmlinux of the release may lie.
func (s *search) kernelPlaces() []string {
	r := s.Release
	if r == "" {
		var places []string
		for _, dir := range s.DebugDirs {
			places = append(places, filepath.Join(dir, "vmlinux"))
		}
		return places
	}
	var places []string
	for _, dir := range s.DebugDirs {
		for _, name := range []string{r + ".mpack", "vmlinux-" + r, "vmlinux-" + r + ".debug", "vmlinux", "vmlinux.debug", r + "/vmlinux"} {
			places = append(places, filepath.Join(dir, name))
		}
	}
	for _, dir := range s.dirs() {
		for _, name := range []string{
			"boot/vmlinux-" + r,                   // Debian, Ubuntu
			"boot/vmlinux-" + r + ".debug",        // SUSE
			"lib/modules/" + r + "/vmlinux",       // Fedora, Red Hat
			"usr/lib/modules/" + r + "/vmlinux",   // the same after the merge of /usr
			"lib/modules/" + r + "/vmlinux.debug", // SUSE, newer
			"usr/lib/modules/" + r + "/vmlinux.debug",
			"vmlinux-" + r,
		} {
			places = append(places, filepath.Join(dir, name))
		}
	}
	for _, name := range []string{
		"/boot/vmlinux-" + r,
		"/lib/modules/" + r + "/vmlinux",
		"/lib/modules/" + r + "/build/vmlinux", // Arch, and those who build their own
		"/usr/lib/modules/" + r + "/vmlinux",
		"/usr/lib/modules/" + r + "/build/vmlinux",
		"/usr/src/linux-" + r + "/vmlinux",
	} {
		places = append(places, filepath.Join(s.root, name))
	}
	return places
}
