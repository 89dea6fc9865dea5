package main

import (
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/indump"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/vfs"
)

// session is an opened dump with its kernel.
type session struct {
	image  dump.Image
	info   debuginfo.Source
	kernel *kernel.Kernel
	fs     *vfs.FS
}

func (s *session) close() {
	if s.info != nil {
		_ = s.info.Close() // opened for reading only
	}
	if s.image != nil {
		_ = s.image.Close() // opened for reading only
	}
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
	if s.image, err = dump.Open(files); err != nil {
		return &exitError{exitUnusable, err}
	}
	for _, w := range s.image.Facts().Warnings {
		a.warn("%s", w)
	}
	if s.info, err = a.debugInfo(s.image); err != nil {
		return &exitError{exitUnusable, err}
	}
	if s.kernel, err = kernel.Open(s.image, s.info, kernel.Options{Force: a.force}); err != nil {
		return &exitError{exitUnusable, err}
	}
	if m := s.kernel.Mismatch(); m != "" {
		a.warn("debug information of another build was forced: %s; every answer may be wrong", m)
	}
	if s.kernel.HasSymbol("modules") {
		if _, err := module.Attach(s.kernel); err != nil {
			a.warn("addresses in modules are not named: %v", err)
		}
	}
	if s.fs, err = vfs.Open(s.kernel); err != nil {
		return &exitError{exitUnusable, err}
	}
	return nil
}

// debugInfo opens the debug information: the file given with --vmlinux, or
// else what the dump itself holds.
func (a *app) debugInfo(image dump.Image) (debuginfo.Source, error) {
	if a.vmlinux != "" {
		return debuginfo.Open(a.vmlinux)
	}
	mem, err := kernel.OpenMemory(image)
	if err != nil {
		return nil, err
	}
	src, err := indump.Open(mem)
	if err != nil {
		return nil, fmt.Errorf("%w; give the vmlinux of the dumped kernel, release %s, with --vmlinux", err, releaseOf(image))
	}
	return src, nil
}

func releaseOf(image dump.Image) string {
	if r := image.Facts().Release(); r != "" {
		return r
	}
	return "unknown"
}

// warn prints a warning for the person at the terminal.
func (a *app) warn(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, "mortem: warning: "+format+"\n", args...) // nowhere left to complain
}
