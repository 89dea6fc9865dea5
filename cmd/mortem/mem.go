package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/mem"
)

func (a *app) memCommand() *cobra.Command {
	var opt mem.Options
	c := &cobra.Command{
		Use:   "mem [flags] DUMP...",
		Short: "Say where the memory went",
		Long: "mem prints what /proc/meminfo would have said, with what the processors had not yet added to\n" +
			"the counters; how the memory divides, and how much no counter explains; nodes and zones with\n" +
			"their watermarks, free blocks by order and the free pages that processors keep; vmalloc areas\n" +
			"by who took them; huge pages and swap; memory cgroups by usage.",
		Example: "  mortem mem --vmlinux vmlinux vmcore\n" +
			"  mortem mem --vmlinux vmlinux --json vmcore",
		Args: atLeast(1, "the dump"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withKernel(args, func(s *session) error {
				if a.json && !c.Flags().Changed("top") {
					opt.Top = 0
				}
				r, err := mem.Analyze(c.Context(), s.fs, opt)
				if err != nil {
					return unusable(err)
				}
				return a.answer(r, &r.Coverage, func(w *printer) { printMem(w, r) })
			})
		},
	}
	mostFlag(c.Flags(), &opt.Top, "top", 15, "list this many callers of vmalloc and cgroups, with --json all unless it is given")
	a.kernelFlags(c.Flags())
	return c
}

func printMem(w *printer, r *mem.Report) {
	printMeminfo(w, &r.Info)
	w.line("")
	w.line("WHERE IT IS")
	w.table(func(w *printer) {
		for _, u := range r.Uses {
			if u.Bytes == 0 {
				continue
			}
			share := 0.0
			if r.Info.MemTotal > 0 {
				share = 100 * float64(u.Bytes) / float64(r.Info.MemTotal)
			}
			w.line("  %s\t%s\t%.1f%%", u.Name, signedSize(u.Bytes), share)
		}
	})
	printZones(w, r)
	printVmalloc(w, r)
	printPools(w, r)
}

func signedSize(n int64) string {
	if n < 0 {
		return "-" + byteSize(uint64(-n))
	}
	return byteSize(uint64(n))
}

// printMeminfo prints in the form of /proc/meminfo.
func printMeminfo(w *printer, i *mem.Meminfo) {
	line := func(name string, bytes *uint64) {
		if bytes != nil {
			w.line("%-16s%8d kB", name+":", *bytes>>10)
		}
	}
	for _, l := range []struct {
		name string
		v    *uint64
	}{
		{"MemTotal", &i.MemTotal}, {"MemFree", &i.MemFree}, {"MemAvailable", i.MemAvailable}, {"Buffers", &i.Buffers},
		{"Cached", &i.Cached}, {"SwapCached", &i.SwapCached}, {"Active", i.Active}, {"Inactive", i.Inactive},
		{"Unevictable", i.Unevictable}, {"Mlocked", i.Mlocked}, {"SwapTotal", &i.SwapTotal}, {"SwapFree", &i.SwapFree},
		{"Dirty", i.Dirty}, {"Writeback", i.Writeback}, {"AnonPages", i.AnonPages}, {"Mapped", i.Mapped}, {"Shmem", i.Shmem},
		{"KReclaimable", i.KReclaimable}, {"Slab", &i.Slab}, {"SReclaimable", &i.SReclaimable}, {"SUnreclaim", &i.SUnreclaim},
		{"KernelStack", i.KernelStack}, {"PageTables", i.PageTables}, {"SecPageTables", i.SecPageTables}, {"Bounce", i.Bounce},
		{"CommitLimit", &i.CommitLimit}, {"Committed_AS", &i.CommittedAS}, {"VmallocUsed", &i.VmallocUsed}, {"Percpu", i.Percpu},
		{"HardwareCorrupted", i.HardwareCorrupted}, {"AnonHugePages", i.AnonHugePages}, {"CmaFree", i.CmaFree}, {"Hugetlb", &i.Hugetlb},
	} {
		line(l.name, l.v)
	}
}

func printZones(w *printer, r *mem.Report) {
	w.line("")
	w.table(func(w *printer) {
		w.line("NODE\tZONE\tMANAGED\tFREE\tMIN\tLOW\tHIGH\tPER CPU\tFREE BLOCKS BY ORDER")
		for _, n := range r.Nodes {
			for i := range n.Zones {
				z := &n.Zones[i]
				below := ""
				if z.Below != "" {
					below = " (below " + z.Below + ")"
				}
				w.line("%d\t%s\t%s\t%s%s\t%s\t%s\t%s\t%s\t%s", n.Node, z.Name, byteSize(z.Managed), byteSize(z.Free), below,
					byteSize(z.Min), byteSize(z.Low), byteSize(z.High), byteSize(z.Kept), strings.Trim(fmt.Sprint(z.Blocks), "[]"))
			}
		}
	})
}

func printVmalloc(w *printer, r *mem.Report) {
	if len(r.Vmalloc) == 0 {
		return
	}
	w.line("")
	w.table(func(w *printer) {
		w.line("VMALLOC AREAS\tADDRESSES\tMEMORY\tTAKEN BY")
		for _, c := range r.Vmalloc {
			w.line("%d\t%s\t%s\t%s", c.Areas, byteSize(c.Bytes), byteSize(c.Memory), c.Caller)
		}
	})
}

func printPools(w *printer, r *mem.Report) {
	for _, h := range r.Huge {
		if h.Total > 0 {
			w.line("")
			w.line("huge pages of %s: %d, of which %d free, %d reserved, %d surplus", byteSize(h.PageSize), h.Total, h.Free, h.Reserved, h.Surplus)
		}
	}
	for _, s := range r.Swap {
		w.line("")
		w.line("swap %s: %s of %s used, priority %d", s.Path, byteSize(s.Used), byteSize(s.Size), s.Priority)
	}
	if len(r.Cgroups) == 0 {
		return
	}
	w.line("")
	w.table(func(w *printer) {
		w.line("MEMORY CGROUP\tUSAGE\tLIMIT\tPEAK\tKERNEL")
		for i := range r.Cgroups {
			c := &r.Cgroups[i]
			limit, kmem, path := "none", "-", c.Path
			if c.Max > 0 {
				limit = byteSize(c.Max)
			}
			if c.Kernel != nil {
				kmem = byteSize(*c.Kernel)
			}
			if c.Offline {
				path += " (removed)"
			}
			w.line("%s\t%s\t%s\t%s\t%s", path, byteSize(c.Usage), limit, byteSize(c.Peak), kmem)
		}
	})
}
