package module

import "github.com/kmortem/mortem/kernel/debuginfo"

func (t *Table) SectionsBySymbol(m *Module, sections []debuginfo.SectionAddr, symbols *debuginfo.Symbols) map[uint64]uint64 {
	return t.sectionsBySymbol(m, sections, symbols)
}
