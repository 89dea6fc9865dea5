package info

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/printk"
)

// Options choose what to look at.
type Options struct {
	// SkipPages leaves the pages uncounted: of a kdump-compressed dump that
	// takes reading 24 bytes for each page.
	SkipPages bool
	// Verify reads every page with that many workers, where it is not 0.
	Verify int
	// Bad is how many pages that cannot be read are listed; 0 stands for
	// 1000.
	Bad int
	// Log is the kernel log, where the caller has found it by debug
	// information; without it, it is found by VMCOREINFO.
	Log *printk.Log
	// Progress is called now and then while every page is read, by any worker,
	// with the number of pages read so far and that of all. It may be nil.
	Progress func(done, total uint64)
}

// Analyze tells what there is to know about a dump. The error is that of ctx,
// of dump.Stat or of dump.Verify; what else could not be read is in the report.
func Analyze(ctx context.Context, img dump.Image, opt Options) (*Report, error) {
	f := img.Facts()
	r := &Report{
		Files:     shown(f.Files),
		Format:    string(f.Format),
		Variant:   shown(f.Variant),
		Complete:  !f.Incomplete,
		Arch:      cstr.Show([]byte(f.Arch)),
		ByteOrder: orderName(f.ByteOrder),
		Bits:      32,
		PageSize:  f.PageSize,
		CPUs:      cpus(f),
		Warnings:  shown(f.Warnings),
	}
	if f.Is64 {
		r.Bits = 64
	}
	if v := f.VMCoreInfo; v != nil {
		r.VMCoreInfo = &VMCoreInfo{Keys: len(v.Keys()), Text: v.Raw}
	}
	r.memory(img)
	r.identity(img, opt.Log)
	if err := r.pages(ctx, img, opt); err != nil {
		return nil, err
	}
	if bytes, requests, remote := dump.Moved(img); remote {
		r.Moved = &Moved{Bytes: bytes, Requests: requests}
	}
	return r, ctx.Err()
}

// Partly tells whether the dump lacks a part of what it should have, or
// something that was asked for could not be read.
func (r *Report) Partly() bool {
	return !r.Complete || !r.Coverage.Complete() || r.Pages != nil && r.Pages.Missing+r.Pages.Damaged > 0
}

func orderName(o binary.ByteOrder) string {
	switch o {
	case binary.LittleEndian:
		return "little-endian"
	case binary.BigEndian:
		return "big-endian"
	}
	return ""
}

// shown makes strings of a dump fit to be shown.
func shown(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, cstr.Show([]byte(s)))
	}
	return out
}

// identity reads who and how from memory: names, and the log.
func (r *Report) identity(img dump.Image, log *printk.Log) {
	m, err := kernel.OpenMemory(img)
	r.names(img.Facts(), m)
	r.crashTime(img.Facts())
	if log != nil {
		r.readLog(img.Facts(), log)
		return
	}
	if err != nil {
		// Without its place the kernel's memory is no memory that failed
		// to be read.
		r.LogError = fmt.Sprintf("kernel memory cannot be found: %v", err)
		return
	}
	if log, err = printk.Open(m); err != nil {
		r.LogError = err.Error()
		if !errors.Is(err, printk.ErrNoLog) {
			r.Coverage.Fail(err)
		}
		return
	}
	r.readLog(img.Facts(), log)
}

func (r *Report) crashTime(f *dump.Facts) {
	if f.Time.IsZero() {
		return
	}
	at := f.Time.UTC()
	r.Crash.Time, r.Crash.TimeFrom = &at, "header"
	if _, ok := f.VMCoreInfo.Get("CRASHTIME"); ok {
		r.Crash.TimeFrom = "CRASHTIME"
	}
}

func (r *Report) memory(img dump.Image) {
	f := img.Facts()
	r.Memory = Memory{MaxPhys: kernel.Addr(f.MaxPhys), Filtered: []string{}}
	for g := range img.Ranges() {
		r.Memory.Ranges++
		r.Memory.Present += g.Size()
	}
	if f.DumpLevel >= 0 {
		level := f.DumpLevel
		r.Memory.DumpLevel, r.Memory.Filtered = &level, filtered(level)
	}
}

// filteredKinds are the bits of makedumpfile's dump level (makedumpfile(8), -d).
var filteredKinds = []string{"zero pages", "page cache without private data", "page cache with private data", "user data", "free pages"}

func filtered(level int) []string {
	kinds := []string{}
	for bit, kind := range filteredKinds {
		if level>>bit&1 != 0 {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}
