package task

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// mmLayout is struct mm_struct (include/linux/mm_types.h). What changed is how it
// counts the pages that are in memory: numbers of their own until 2.6.33, the array
// rss_stat.count from 2.6.34 on, an array of struct percpu_counter since 6.2. Pages of
// shared memory are counted apart since 4.5, and in RHEL 7 in a member of its own.
type mmLayout struct {
	kernel.Layout `kernel:"struct mm_struct"`
	PGD           kernel.U64   `kernel:"pgd"`
	Total         kernel.U64   `kernel:"total_vm,optional"`
	Users         kernel.I32   `kernel:"mm_users.counter,optional"`
	ArgStart      kernel.U64   `kernel:"arg_start,optional"`
	ArgEnd        kernel.U64   `kernel:"arg_end,optional"`
	EnvStart      kernel.U64   `kernel:"env_start,optional"`
	EnvEnd        kernel.U64   `kernel:"env_end,optional"`
	Exe           kernel.U64   `kernel:"exe_file,optional"`
	File          kernel.U64   `kernel:"_file_rss.counter|_file_rss,optional"`
	Anon          kernel.U64   `kernel:"_anon_rss.counter|_anon_rss,optional"`
	Counts        kernel.Bytes `kernel:"rss_stat.count,optional"`
	PerCPU        kernel.Bytes `kernel:"rss_stat,optional"`
	Shmem         kernel.U64   `kernel:"mm_shmempages.counter,optional"`
}

// counterLayout is struct percpu_counter (include/linux/percpu_counter.h).
type counterLayout struct {
	kernel.Layout `kernel:"struct percpu_counter"`
	Count         kernel.U64 `kernel:"count"`
	Counters      kernel.U64 `kernel:"counters"`
}

// mmReader knows the layouts of address spaces.
type mmReader struct {
	k       *kernel.Kernel
	l       mmLayout
	counter counterLayout
	perCPU  bool  // whether rss_stat is an array of struct percpu_counter
	cpus    []int // that have a part of each
	cpusErr error
}

func (m *mmReader) resolve(r *Reader) error {
	m.k = r.k
	if err := m.k.Resolve(&m.l); err != nil {
		return err
	}
	if m.perCPU = m.k.HasField("struct mm_struct", "rss_stat[0].counters"); !m.perCPU {
		return nil
	}
	m.cpus, m.cpusErr = r.online()
	return m.k.Resolve(&m.counter)
}

// Memory is an address space, in pages: struct mm_struct
// (include/linux/mm_types.h).
type Memory struct {
	Addr  uint64 // virtual address of the mm_struct
	Total uint64 // mapped (VSZ)
	// RSS is what is in memory: File, Anon and Shmem. Until 6.1 each thread
	// keeps up to 64 pages of these to itself before it adds them, so that they are
	// off by that much, as in /proc.
	RSS, File, Anon, Shmem uint64
	Swap                   uint64 // swapped out; not known before 2.6.34
	Users                  int32  // threads, and others that look into it
	Exe                    uint64 // virtual address of the struct file that is run

	pgd                                uint64
	argStart, argEnd, envStart, envEnd uint64
}

// Memory reads an address space; mm is More.MM. It is the kernel virtual
// address of the struct mm_struct (include/linux/mm_types.h). The error wraps a
// *kernel.ReadError where that cannot be read.
func (d *Details) Memory(mm uint64) (*Memory, error) {
	l := &d.mm.l
	b, err := d.k.Peek(mm, make([]byte, l.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct mm_struct at %#x: %w", mm, err)
	}
	m := &Memory{Addr: mm, Total: l.Total.Or0(b), Users: l.Users.Or0(b), Exe: l.Exe.Or0(b), pgd: l.PGD.Get(b),
		argStart: l.ArgStart.Or0(b), argEnd: l.ArgEnd.Or0(b), envStart: l.EnvStart.Or0(b), envEnd: l.EnvEnd.Or0(b)}
	counts, err := d.mm.counts(b)
	for i, p := range []*uint64{&m.File, &m.Anon, &m.Swap, &m.Shmem} {
		if i < len(counts) && int64(counts[i]) > 0 {
			*p = counts[i] // a counter may be caught below zero
		}
	}
	m.RSS = m.File + m.Anon + m.Shmem
	if err != nil {
		return m, fmt.Errorf("pages of the struct mm_struct at %#x: %w", mm, err)
	}
	return m, nil
}

// Program is the virtual address of the struct file that the mm_struct at one runs, 0 for
// none and where the kernel does not keep it; mm is More.MM. It is Memory.Exe without the
// rest. The error wraps a *kernel.ReadError where it cannot be read.
func (d *Details) Program(mm uint64) (uint64, error) {
	l := &d.mm.l
	if !l.Exe.Has() {
		return 0, nil
	}
	file, err := d.k.Uint64(mm + l.Exe.Offset())
	if err != nil {
		return 0, fmt.Errorf("struct mm_struct at %#x: %w", mm, err)
	}
	return file, nil
}

// counts are the numbers of pages by kind: of files, anonymous ones, swapped out,
// of shared memory.
func (m *mmReader) counts(b []byte) ([]uint64, error) {
	switch {
	case m.l.Counts.Has():
		list := words(m.l.Counts.Get(b))
		if m.l.Shmem.Has() && len(list) == 3 {
			list = append(list, m.l.Shmem.Get(b))
		}
		return list, nil
	case m.perCPU && m.cpusErr != nil:
		return nil, m.cpusErr
	case m.perCPU:
		return m.sums(m.l.PerCPU.Get(b))
	}
	return []uint64{m.l.File.Or0(b), m.l.Anon.Or0(b)}, nil
}

// sums adds up an array of per-CPU counters. The CPUs' parts are 32 bits wide.
func (m *mmReader) sums(b []byte) ([]uint64, error) {
	var list []uint64
	for size := m.counter.Size(); len(b) >= size; b = b[size:] {
		sum, parts := m.counter.Count.Get(b), m.counter.Counters.Get(b)
		if parts == 0 { // not set up: init_mm
			list = append(list, sum)
			continue
		}
		for _, cpu := range m.cpus {
			at, err := m.k.PerCPU(parts, uint64(cpu))
			if err != nil {
				return list, err
			}
			part, err := m.k.Uint32(at)
			if err != nil {
				return list, err
			}
			sum += uint64(int64(int32(part)))
		}
		list = append(list, sum)
	}
	return list, nil
}
