package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/debuginfo/find"
)

// debuginfoResult is the answer of "mortem debuginfo" as JSON.
type debuginfoResult struct {
	Release string         `json:"release"`
	BuildID string         `json:"build_id"`                   // of the dumped kernel; empty where the dump does not tell
	Path    string         `json:"path"`                       // of what was found; empty where nothing was
	Matched string         `json:"matched"`                    // how sure it is: "build id", "release", "nothing" or "forced"
	Damage  string         `json:"debuginfo_damage,omitempty"` // what of it cannot be read
	Tried   []find.Attempt `json:"tried"`
	// InDump says whether the dump's own tables can serve as debug
	// information, or why not.
	InDump string `json:"in_dump"`
}

func (a *app) debuginfoCommand() *cobra.Command {
	var offline bool
	c := &cobra.Command{
		Use:   "debuginfo [flags] DUMP...",
		Short: "Say which debug information belongs to a dump, and where it was looked for",
		Long: "debuginfo looks for the vmlinux of the dumped kernel: in the file given with --vmlinux, or\n" +
			"in the directories given with --debug-dir, where distributions install it, in build-id\n" +
			"trees and at the debuginfod servers in DEBUGINFOD_URLS. It prints every place that was\n" +
			"looked at and what was there, and whether the dump's own symbol table and types would do.\n" +
			"What is downloaded is kept in debuginfod's cache.",
		Example: "  mortem debuginfo vmcore\n" +
			"  mortem debuginfo --debug-dir /srv/debug --offline vmcore",
		Args: atLeast(1, "the dump"),
		RunE: func(_ *cobra.Command, args []string) error {
			image, err := a.image(a.ctx, args)
			if err != nil {
				return err
			}
			defer func() { _ = image.Close() }() // opened for reading only
			r := a.lookFor(image, offline)
			if err := a.print(r, func(w *printer) { printDebuginfo(w, r) }); err != nil {
				return err
			}
			if r.Path == "" && r.InDump != inDumpServes {
				return statusOnly(exitUnusable)
			}
			if r.Damage != "" {
				return statusOnly(exitPartly)
			}
			return nil
		},
	}
	a.kernelFlags(c.Flags())
	c.Flags().BoolVar(&offline, "offline", false, "ask no debuginfod server")
	return c
}

// inDumpServes is what debuginfoResult.InDump says of a dump that needs no
// vmlinux.
const inDumpServes = "kallsyms and BTF in the dump serve all commands; local variables and line numbers need a vmlinux"

func (a *app) lookFor(image dump.Image, offline bool) *debuginfoResult {
	r := &debuginfoResult{Release: releaseOf(image), BuildID: fmt.Sprintf("%x", buildIDOf(image)), InDump: inDumpServes}
	q := a.query(image)
	q.Offline = offline
	found, err := find.Kernel(a.ctx, q)
	if found != nil {
		for _, t := range found.Attempts {
			t.Place, t.Outcome = cstr.Show([]byte(t.Place)), cstr.Show([]byte(t.Outcome))
			r.Tried = append(r.Tried, t)
		}
	}
	if err == nil {
		if a.fits(image, found) || found.Matched == "forced" {
			r.Path, r.Matched = found.Path, found.Matched
			if damage := debuginfo.DamageOf(found.Source); damage != nil {
				r.Damage = cstr.Show([]byte(damage.Error()))
			}
		} else {
			r.Tried = append(r.Tried, find.Attempt{Place: found.Path, Outcome: "does not fit the dump: linux_banner is another"})
		}
		_ = found.Source.Close() // opened for reading only
	}
	inside, err := a.inside(image)
	if err != nil {
		r.InDump = cstr.Show([]byte(err.Error()))
		return r
	}
	_ = inside.Close() // opened for reading only
	return r
}

func printDebuginfo(w *printer, r *debuginfoResult) {
	id := r.BuildID
	if id == "" {
		id = "not in the dump"
	}
	w.line("kernel    %s, build id %s", r.Release, id)
	if r.Path != "" {
		w.line("found     %s, matched by %s", r.Path, r.Matched)
	} else {
		w.line("found     nothing")
	}
	if r.Damage != "" {
		w.line("damaged   %s", r.Damage)
	}
	w.line("in dump   %s", r.InDump)
	if len(r.Tried) == 0 {
		return
	}
	w.line("")
	w.table(func(w *printer) {
		w.line("LOOKED AT\tOUTCOME")
		for _, t := range r.Tried {
			w.line("%s\t%s", t.Place, t.Outcome)
		}
	})
}

func (a *app) packCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "pack [flags] VMLINUX [MODULE...] -o FILE",
		Short: "Pack a kernel's debug information into one small file",
		Long: "pack writes the types, symbols, unwind tables and line tables of a kernel, and those of\n" +
			"modules (.ko, .ko.debug, also compressed), into one small file, which every command takes\n" +
			"with --vmlinux in place of the vmlinux. Local variables and what is inlined where are not\n" +
			"in it.",
		Example: "  mortem pack vmlinux -o 6.1.0-56.mpack\n" +
			"  mortem pack /usr/lib/debug/boot/vmlinux-6.1.0-56-amd64 ext4.ko.xz -o 6.1.0-56.mpack",
		Args: atLeast(1, "the vmlinux"),
		RunE: func(_ *cobra.Command, args []string) error {
			if output == "" {
				return usage("-o FILE is missing; see 'mortem pack --help'")
			}
			return a.pack(args[0], args[1:], output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "the file to write")
	return c
}

// packResult is the answer of "mortem pack" as JSON.
type packResult struct {
	Path    string   `json:"path"`
	Size    int64    `json:"size"`     // bytes
	BuildID string   `json:"build_id"` // of the kernel
	Modules []string `json:"modules"`
}

func (a *app) pack(vmlinux string, files []string, output string) error {
	if st, err := os.Stat(output); err == nil && !st.Mode().IsRegular() {
		return usage("-o %s: there is something else than a file", output)
	}
	if _, err := os.Stat(filepath.Dir(output)); err != nil {
		return usage("-o %s: %w", output, err)
	}
	kernel, err := debuginfo.Open(vmlinux, debuginfo.NoCache()) // so that damage shows
	if err != nil {
		return unusable(err)
	}
	defer func() { _ = kernel.Close() }() // opened for reading only
	r := packResult{Path: output, BuildID: fmt.Sprintf("%x", kernel.BuildID()), Modules: []string{}}
	var modules []debuginfo.Module
	for _, file := range files {
		source, err := debuginfo.Open(file)
		if err != nil {
			return unusable(err)
		}
		defer func() { _ = source.Close() }() // opened for reading only
		modules = append(modules, debuginfo.Module{Name: moduleName(file), Source: source})
		r.Modules = append(r.Modules, moduleName(file))
	}
	if err := debuginfo.WritePack(output, kernel, modules); err != nil {
		return unusable(fmt.Errorf("%s: %w", output, err))
	}
	if st, err := os.Stat(output); err == nil {
		r.Size = st.Size()
	}
	return a.print(r, func(w *printer) {
		w.line("%s: %d bytes, build id %s, %d modules", r.Path, r.Size, r.BuildID, len(r.Modules))
	})
}

// moduleName is the name of the module in a file, as lsmod has it: without
// directory and endings, and with _ for -.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}
