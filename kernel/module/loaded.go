package module

import (
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// placeSections finds where the sections of a module's debug information are in
// memory: by the sections that the kernel noted when it loaded the module, or,
// where it keeps none (CONFIG_SYSFS is off), by symbols that both have. Sections
// for init, which are freed, and per-CPU ones are left out.
func (t *Table) placeSections(m *Module, source debuginfo.Source) []kernel.LoadedSection {
	file, ok := source.(debuginfo.Sections)
	if !ok {
		return nil
	}
	noted := map[string][]uint64{} // in some modules several sections share a name
	sections, _ := t.reader.Sections(m)
	for _, s := range sections {
		noted[s.Name] = append(noted[s.Name], s.Addr)
	}
	var bySymbol map[uint64]uint64
	if len(sections) == 0 {
		bySymbol = t.sectionsBySymbol(m, file.Loaded(), source.Symbols())
	}
	var list []kernel.LoadedSection
	for _, s := range file.Loaded() {
		addr := bySymbol[s.Addr]
		if places := noted[s.Name]; len(places) > 0 {
			addr, noted[s.Name] = places[0], places[1:]
		}
		if _, there := m.Region(addr); there && s.Size > 0 {
			list = append(list, kernel.LoadedSection{Link: s.Addr, Runtime: addr, Size: s.Size})
		}
	}
	return list
}

// sectionsBySymbol finds sections by their symbols, in the dump and in the file.
// The result is by the section's address in the file. Names that occur twice on
// either side are of no use.
func (t *Table) sectionsBySymbol(m *Module, sections []debuginfo.SectionAddr, symbols *debuginfo.Symbols) map[uint64]uint64 {
	list, _ := t.reader.Symbols(m)
	loaded := map[string]uint64{} // 0 for those that occur twice
	for _, s := range list {
		if _, again := loaded[s.Name]; again {
			s.Addr = 0
		}
		loaded[s.Name] = s.Addr
	}
	count := map[string]int{}
	for s := range symbols.All() {
		count[s.Name]++
	}
	found := map[uint64]uint64{}
	for s := range symbols.All() {
		addr := loaded[s.Name]
		if addr == 0 || count[s.Name] > 1 {
			continue
		}
		for _, section := range sections {
			if s.Addr-section.Addr < section.Size && found[section.Addr] == 0 {
				found[section.Addr] = addr - (s.Addr - section.Addr)
			}
		}
	}
	return found
}
