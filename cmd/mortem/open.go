package main

import (
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/debuginfo/find"
	"github.com/kmortem/mortem/kernel/indump"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/vfs"
)

// session is an opened dump with its kernel.
type session struct {
	image  dump.Image
	info   debuginfo.Source
	kernel *kernel.Kernel
	types  *module.Types // of modules; nil where there are none
	fs     *vfs.FS
}

func (s *session) close() {
	if s.types != nil {
		_ = s.types.Close() // opened for reading only
	}
	if s.info != nil {
		_ = s.info.Close() // opened for reading only
	}
	if s.image != nil {
		_ = s.image.Close() // opened for reading only
	}
}

// withKernel opens the dump that the files make up, and its kernel, for as long as ask
// needs it.
func (a *app) withKernel(files []string, ask func(s *session) error) error {
	s, err := a.open(files)
	if err != nil {
		return err
	}
	defer s.close()
	return ask(s)
}

// open opens the dump that the files make up, and its kernel.
func (a *app) open(files []string) (*session, error) {
	s := &session{}
	if err := a.openInto(s, files); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (a *app) openInto(s *session, files []string) (err error) {
	if s.image, err = a.image(a.ctx, files); err != nil {
		return err
	}
	for _, w := range s.image.Facts().Warnings {
		a.warn("%s", w)
	}
	if s.info, err = a.debugInfo(s.image); err != nil {
		return unusable(err)
	}
	a.warnDamage(s.info)
	if s.kernel, err = kernel.Open(s.image, s.info, kernel.Options{Force: a.force}); err != nil {
		return unusable(err)
	}
	if m := s.kernel.Mismatch(); m != "" {
		a.warn("debug information of another build was forced: %s; every answer may be wrong", m)
	}
	a.attachModules(s)
	if s.fs, err = vfs.Open(s.kernel); err != nil {
		return unusable(err)
	}
	return nil
}

// attachModules makes symbols and types of loaded modules known.
func (a *app) attachModules(s *session) {
	if !s.kernel.HasSymbol("modules") {
		return
	}
	table, err := module.Attach(s.kernel)
	if err != nil {
		a.warn("addresses in modules are not named: %v", err)
		return
	}
	files := sync.OnceValue(func() *find.Modules {
		q := a.query(s.image)
		q.Offline, q.Force = true, false // of another build, a module's file is of less use than its BTF in the dump
		return find.ForModules(a.ctx, q)
	})
	s.types = module.AttachTypes(s.kernel, table, func(m *module.Module) (debuginfo.Source, error) {
		if pack, ok := s.info.(debuginfo.HasModules); ok {
			if source, err := pack.Module(m.Name); err == nil {
				return source, nil
			}
		}
		if found, err := files().Find(m.Name, table.Reader().BuildID(m)); err == nil {
			return found.Source, nil
		}
		inside, err := indump.Open(s.kernel.Memory)
		if err != nil {
			return nil, err
		}
		return inside.Module(table.Reader(), m)
	})
}

// debugInfo opens the debug information: the file given with --vmlinux; or else
// what is found on this machine; or else what the dump itself holds; or else,
// where that is not enough, what a debuginfod server has.
func (a *app) debugInfo(image dump.Image) (debuginfo.Source, error) {
	q := a.query(image)
	if a.vmlinux != "" {
		found, err := find.Kernel(a.ctx, q)
		return sourceOf(found), err
	}
	q.Offline = true
	if found, err := find.Kernel(a.ctx, q); err == nil {
		if a.fits(image, found) {
			return found.Source, nil
		}
		_ = found.Source.Close() // opened for reading only
	}
	inside, err := a.inside(image)
	if err == nil {
		return inside, nil
	}
	q.Offline = false
	if found, serverErr := find.Kernel(a.ctx, q); serverErr == nil {
		return found.Source, nil
	}
	return nil, fmt.Errorf("%w; give the vmlinux of the dumped kernel, release %s, with --vmlinux, or see 'mortem debuginfo'",
		err, releaseOf(image))
}

// fits tells whether debug information that was found belongs to the dump, also
// where there is no build id to tell.
func (a *app) fits(image dump.Image, found *find.Result) bool {
	if found.Matched == "build id" {
		return true
	}
	_, err := kernel.Open(image, found.Source, kernel.Options{})
	return err == nil
}

// inside is the debug information that the dump itself holds.
func (a *app) inside(image dump.Image) (debuginfo.Source, error) {
	mem, err := kernel.OpenMemory(image)
	if err != nil {
		return nil, err
	}
	return indump.Open(mem)
}

func sourceOf(r *find.Result) debuginfo.Source {
	if r == nil {
		return nil
	}
	return r.Source
}

// query is what to look for, and where, by the dump and the flags.
func (a *app) query(image dump.Image) find.Query {
	q := find.Query{
		Release:   image.Facts().Release(),
		BuildID:   buildIDOf(image),
		Vmlinux:   a.vmlinux,
		DebugDirs: a.debugDirs,
		Force:     a.force,
		Options:   a.infoOptions(),
	}
	progress := a.progress("")
	q.Progress = func(what string, done, total int64) {
		progress.what = what
		progress.update(int(done>>10), int(total>>10))
		if done >= total {
			progress.done()
		}
	}
	return q
}

func (a *app) infoOptions() []debuginfo.Option {
	if a.noCache {
		return []debuginfo.Option{debuginfo.NoCache()}
	}
	return nil
}

// buildIDOf is the build id of the dumped kernel, nil where the dump does not
// tell it.
func buildIDOf(image dump.Image) []byte {
	text, _ := image.Facts().VMCoreInfo.Get("BUILD-ID")
	id, err := hex.DecodeString(text)
	if err != nil || len(id) == 0 {
		return nil
	}
	return id
}

func releaseOf(image dump.Image) string {
	if r := image.Facts().Release(); r != "" {
		return cstr.Show([]byte(r))
	}
	return "unknown"
}

// warnDamage warns of debug information that can be read in part, and tells whether it is
// such.
func (a *app) warnDamage(info debuginfo.Source) bool {
	damage := debuginfo.DamageOf(info)
	if damage != nil {
		a.warn("the debug information is damaged, and what that part of it defines is not found: %v", damage)
	}
	return damage != nil
}

// warn prints a warning for the person at the terminal.
func (a *app) warn(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, "mortem: warning: "+format+"\n", args...) // nowhere left to complain
}
