// Package modules answers which modules a dumped kernel had loaded, and where.
package modules

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/module"
)

// Report is the answer.
type Report struct {
	Modules  []Module        `json:"modules"` // in the order of the kernel's list, the one loaded last first
	Coverage kernel.Coverage `json:"coverage"`
}

// Module is one loaded module.
type Module struct {
	Addr    kernel.Addr `json:"addr"` // of the struct module
	Name    string      `json:"name"`
	State   string      `json:"state"` // Live, Loading or Unloading, as in /proc/modules
	Base    kernel.Addr `json:"base"`  // of its code
	Size    uint64      `json:"size"`  // bytes of memory in all
	Taints  string      `json:"taints,omitempty"`
	Args    string      `json:"args,omitempty"`
	Version string      `json:"version,omitempty"`
	BuildID string      `json:"build_id,omitempty"`
	Regions []Region    `json:"regions"`
	// PerCPU is where its static per-CPU variables are in each CPU's area.
	PerCPU   *Range    `json:"per_cpu,omitempty"`
	Sections []Section `json:"sections,omitempty"`
}

// Region is a part of a module's memory.
type Region struct {
	Kind string      `json:"kind"`
	Addr kernel.Addr `json:"addr"`
	Size uint64      `json:"size"` // bytes
}

// Range is a stretch of a CPU's per-CPU area.
type Range struct {
	Offset kernel.Addr `json:"offset"`
	Size   uint64      `json:"size"` // bytes
}

// Section is one section as it was loaded.
type Section struct {
	Name string      `json:"name"`
	Addr kernel.Addr `json:"addr"`
}

// Options choose what the report holds.
type Options struct {
	Sections bool // list the sections of each module
}

// Analyze lists the modules. The error is that of a kernel without modules;
// everything else is part of the coverage.
func Analyze(k *kernel.Kernel, opt Options) (*Report, error) {
	r := &Report{Modules: []Module{}, Coverage: k.NewCoverage()}
	reader, err := module.New(k)
	if err != nil {
		return nil, err
	}
	for m, err := range reader.All() {
		if err != nil {
			r.Coverage.Fail(err)
			continue
		}
		r.Coverage.Read++
		r.Modules = append(r.Modules, r.describe(reader, m, opt))
	}
	return r, nil
}

func (r *Report) describe(reader *module.Reader, m *module.Module, opt Options) Module {
	out := Module{
		Addr:    kernel.Addr(m.Addr),
		Name:    m.Name,
		State:   m.State.String(),
		Base:    kernel.Addr(m.Base()),
		Size:    m.Size(),
		Taints:  m.TaintFlags(),
		Args:    m.Args,
		Version: m.Version,
		BuildID: fmt.Sprintf("%x", reader.BuildID(m)),
		Regions: []Region{},
	}
	for _, region := range m.Regions {
		out.Regions = append(out.Regions, Region{Kind: region.Kind, Addr: kernel.Addr(region.Addr), Size: region.Size})
	}
	if m.PerCPU.Size != 0 {
		out.PerCPU = &Range{Offset: kernel.Addr(m.PerCPU.Addr), Size: m.PerCPU.Size}
	}
	if !opt.Sections {
		return out
	}
	sections, err := reader.Sections(m)
	if err != nil && !errors.Is(err, kernel.ErrNotFound) {
		r.Coverage.Fail(fmt.Errorf("sections of module %s: %w", m.Name, err))
	}
	for _, s := range sections {
		out.Sections = append(out.Sections, Section{Name: s.Name, Addr: kernel.Addr(s.Addr)})
	}
	return out
}
