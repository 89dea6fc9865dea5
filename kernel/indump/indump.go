// Package indump makes debug information out of what a dump holds of it: the
// kernel's own symbol table (kallsyms), its BTF, and a short list of the types
// of global variables. A dump can so be read without the vmlinux of its kernel,
// if that was built with CONFIG_KALLSYMS_ALL and CONFIG_DEBUG_INFO_BTF, as those
// of distributions have been since about 5.4. What only vmlinux with DWARF has
// are source lines, local variables, and the types of most global variables.
package indump

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
	"github.com/kmortem/mortem/kernel/kallsyms"
)

// ErrNone: the dump does not hold debug information that can be used.
var ErrNone = errors.New("the dump holds no debug information of its own")

// Source is the debug information in one dump. It is valid as long as the
// dump is open, and safe for use by many goroutines.
type Source struct {
	debuginfo.Source // types and functions, of BTF
	mem              *kernel.Memory
	types            *btf.Types
	symbols          *debuginfo.Symbols
	buildID          []byte
}

// description is how messages name the source.
const description = "the dump itself (kallsyms and BTF)"

// Open finds the debug information in the kernel's memory. The error wraps
// ErrNone where there is none, and says why.
func Open(mem *kernel.Memory) (*Source, error) {
	list, err := kallsyms.Read(mem)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	s := &Source{mem: mem, symbols: debuginfo.NewSymbols(list)}
	raw, err := s.between("__start_BTF", "__stop_BTF", maxBTF)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, s.explain(err))
	}
	if s.types, err = btf.Parse(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	s.Source = debuginfo.FromBTF(s.types, description)
	s.buildID = s.findBuildID()
	return s, nil
}

// Bounds of what is read in one piece.
const (
	maxBTF  = 64 << 20
	maxORC  = 64 << 20
	maxNote = 1 << 16
)

// explain says what the kernel was built without, where symbols are missing.
func (s *Source) explain(err error) error {
	if !errors.Is(err, debuginfo.ErrNotFound) {
		return err
	}
	if _, ok := s.symbols.Lookup("init_task"); !ok {
		return errors.New("the kernel's symbol table has functions only (CONFIG_KALLSYMS_ALL is off)")
	}
	return errors.New("the kernel has no BTF (CONFIG_DEBUG_INFO_BTF is off, or it is older than 5.2)")
}

// between reads the memory from one symbol to another.
func (s *Source) between(start, stop string, limit uint64) ([]byte, error) {
	from, ok := s.symbols.Lookup(start)
	to, found := s.symbols.Lookup(stop)
	switch {
	case !ok || !found:
		return nil, fmt.Errorf("symbols %s and %s: %w", start, stop, debuginfo.ErrNotFound)
	case to.Addr < from.Addr || to.Addr-from.Addr > limit:
		return nil, fmt.Errorf("%s at %#x and %s at %#x are not the ends of one table", start, from.Addr, stop, to.Addr)
	}
	b := make([]byte, to.Addr-from.Addr)
	if _, err := s.mem.Read(b, s.mem.Runtime(from.Addr)); err != nil {
		return nil, fmt.Errorf("from %s to %s: %w", start, stop, err)
	}
	return b, nil
}

// findBuildID takes the build id from VMCOREINFO (since 5.9), or else from the
// kernel's notes, which are in its memory.
func (s *Source) findBuildID() []byte {
	if text, ok := s.mem.Image().Facts().VMCoreInfo.Get("BUILD-ID"); ok {
		if id, err := hex.DecodeString(strings.TrimSpace(text)); err == nil && len(id) > 0 {
			return id
		}
	}
	return s.notedBuildID()
}

func (s *Source) notedBuildID() []byte {
	notes, err := s.between("__start_notes", "__stop_notes", maxNote)
	if err != nil {
		return nil
	}
	return elffile.BuildIDFromNotes(notes, 4)
}

// BuildID is the GNU build id of the dumped kernel, nil if unknown.
func (s *Source) BuildID() []byte { return s.buildID }

// Describe names the source for messages.
func (s *Source) Describe() string { return description }

// Symbols is the kernel's own symbol table, with link addresses. The size of a
// symbol is the distance to the next one.
func (s *Source) Symbols() *debuginfo.Symbols { return s.symbols }

// Types is the kernel's BTF.
func (s *Source) Types() *btf.Types { return s.types }
