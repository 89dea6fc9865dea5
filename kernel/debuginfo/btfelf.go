package debuginfo

import (
	"bytes"
	"sync"

	"github.com/kmortem/mortem/kernel/debuginfo/btf"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
)

// btfELF is a vmlinux without DWARF that has BTF, such as a stripped one. Lines
// and locals are missing, and of variables the types of those that are not per
// CPU.
type btfELF struct {
	btfSource
	file    *elffile.File
	symbols func() *Symbols
}

func openBTF(path string, file *elffile.File) (Source, error) {
	s := &btfELF{file: file}
	err := mapfile.Guard(path, func() error {
		data, err := file.Section(".BTF")
		if err != nil {
			return err
		}
		s.types, err = btf.Parse(bytes.Clone(data))
		return err
	})
	s.from = path + " (BTF)"
	s.symbols = sync.OnceValue(func() *Symbols { return symbolsOf([]*elffile.File{file}) })
	return s, err
}

func (s *btfELF) BuildID() []byte   { return s.file.BuildID() }
func (s *btfELF) Symbols() *Symbols { return s.symbols() }
func (s *btfELF) Close() error      { return s.file.Close() }

// Section returns a section of the file.
func (s *btfELF) Section(name string) (data []byte, addr uint64, err error) {
	data, err = s.file.Section(name)
	addr, _ = s.file.SectionAddr(name)
	return data, addr, err
}

// Loaded are the sections of the file that are in memory.
func (s *btfELF) Loaded() []SectionAddr { return loaded(s.file) }
