package btf

import (
	"strings"

	"github.com/kmortem/mortem/kernel/cstr"
)

// stringTable is the string section. Names are parts of it.
type stringTable struct {
	before *stringTable // the section that this one continues
	text   string
}

// maxName bounds names, so that damaged offsets into one long string cost
// little. KSYM_NAME_LEN is 512.
const maxName = 1 << 10

func (s *stringTable) load(section []byte) error {
	if s.before == nil && (len(section) == 0 || section[0] != 0) {
		return damaged("its strings do not begin with an empty one")
	}
	if uint64(s.start())+uint64(len(section)) > 1<<32-1 {
		return damaged("it has more strings than offsets")
	}
	s.text = string(section)
	return nil
}

// start is the offset of the section's first byte.
func (s *stringTable) start() uint32 {
	if s.before == nil {
		return 0
	}
	return s.before.start() + uint32(len(s.before.text))
}

// at returns the string at an offset as it stands there.
func (s *stringTable) at(off uint32) string {
	if start := s.start(); off < start {
		return s.before.at(off)
	} else if off -= start; uint64(off) >= uint64(len(s.text)) {
		return ""
	}
	text := s.text[off:min(uint64(len(s.text)), uint64(off)+maxName)]
	if i := strings.IndexByte(text, 0); i >= 0 {
		return text[:i]
	}
	return text
}

// show returns the string at an offset, fit to be shown.
func (s *stringTable) show(off uint32) string { return cstr.Name(s.at(off)) }
