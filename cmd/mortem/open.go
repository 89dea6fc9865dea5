package main

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
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
	if a.vmlinux == "" {
		return &exitError{exitUnusable, errors.New("the kernel's debug information is needed: " +
			"give the vmlinux of the dumped kernel, release " + releaseOf(s.image) + ", with --vmlinux")}
	}
	if s.info, err = debuginfo.Open(a.vmlinux); err != nil {
		return &exitError{exitUnusable, err}
	}
	if s.kernel, err = kernel.Open(s.image, s.info, kernel.Options{Force: a.force}); err != nil {
		return &exitError{exitUnusable, err}
	}
	if m := s.kernel.Mismatch(); m != "" {
		a.warn("debug information of another build was forced: %s; every answer may be wrong", m)
	}
	if s.fs, err = vfs.Open(s.kernel); err != nil {
		return &exitError{exitUnusable, err}
	}
	return nil
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
