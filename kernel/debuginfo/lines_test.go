package debuginfo_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

// checkFrames compares with what addr2line -i -f printed: functions and lines
// in turn. It says ??:? or 0 where it knows less.
func checkFrames(src debuginfo.Source, addr uint64, said []string) error {
	lines := src.(debuginfo.Lines)
	frames, err := lines.Frames(addr)
	if err != nil {
		return err
	}
	if said[0] == "??" {
		return nil
	}
	if len(frames) != len(said)/2 {
		return fmt.Errorf("%d frames %v, addr2line has %v", len(frames), frameNames(frames), said)
	}
	for i, f := range frames {
		file, line, _ := strings.Cut(said[2*i+1], ":")
		// The symbol table says which part of a function it is: "name.cold".
		if name, _, _ := strings.Cut(said[2*i], "."); f.Name != name && f.Name != said[2*i] && !alias(src, f.Name, said[2*i]) {
			return fmt.Errorf("frame %d is %s, addr2line has %s", i, f.Name, said[2*i])
		}
		if n, err := strconv.Atoi(line); err != nil || n == 0 || file == "??" {
			continue
		}
		if strconv.Itoa(f.Line.Line) != line || !strings.HasSuffix(path.Clean(file), strings.TrimLeft(f.Line.File, "./")) {
			return fmt.Errorf("frame %d (%s) is at %s:%d, addr2line has %s", i, f.Name, f.Line.File, f.Line.Line, said[2*i+1])
		}
	}
	return nil
}

// alias tells whether two names stand for one address.
func alias(src debuginfo.Source, a, b string) bool {
	x, ok1 := src.Symbols().Lookup(a)
	y, ok2 := src.Symbols().Lookup(b)
	return ok1 && ok2 && x.Addr == y.Addr
}

func frameNames(frames []debuginfo.Frame) []string {
	var names []string
	for _, f := range frames {
		names = append(names, f.Name)
	}
	return names
}

// Every address of the small programs.
func TestFramesAndLines(t *testing.T) {
	text, err := os.ReadFile("testdata/built/lines.txt")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]debuginfo.Source{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		src := sources[words[0]]
		if src == nil {
			src = open(t, filepath.Join("testdata/built", words[0]))
			sources[words[0]] = src
		}
		addr, err := strconv.ParseUint(words[1], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkFrames(src, addr, words[2:]); err != nil {
			t.Errorf("%s %s: %v", words[0], words[1], err)
		}
	}
}

// A sample of all instructions of vmlinux, where llvm-addr2line is installed:
// that of binutils takes headers for the files that include them.
func TestFramesOfVmlinux(t *testing.T) {
	file := vmlinux(t)
	if _, err := exec.LookPath("llvm-addr2line"); err != nil {
		t.Skip("llvm-addr2line, which is compared with, is not installed")
	}
	src := open(t, file)
	addrs := sampleText(src, 500)
	cmd := exec.Command("llvm-addr2line", "-a", "-i", "-f", "-e", file)
	var in bytes.Buffer
	for _, a := range addrs {
		fmt.Fprintf(&in, "%x\n", a)
	}
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, part := range strings.Split(string(out), "0x")[1:] {
		var words []string
		for line := range strings.Lines(part) {
			words = append(words, strings.Fields(line)[0])
		}
		addr, _ := strconv.ParseUint(words[0], 16, 64)
		if err := checkFrames(src, addr, words[1:]); err != nil {
			if bad++; bad < 10 {
				t.Logf("%x: %v", addr, err)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d addresses differ from addr2line", bad, len(addrs))
	}
}

// sampleText chooses addresses inside of functions, the same in each run.
func sampleText(src debuginfo.Source, n int) []uint64 {
	random := rand.New(rand.NewPCG(1, 2))
	symbols := src.Symbols()
	var addrs []uint64
	for len(addrs) < n && symbols.Len() > 0 {
		if s := symbols.At(random.IntN(symbols.Len())); s.Kind == debuginfo.SymbolText && s.Size > 0 {
			addrs = append(addrs, s.Addr+random.Uint64N(s.Size))
		}
	}
	return addrs
}

// Parameters and locals have the types of the source.
func TestLocals(t *testing.T) {
	for _, file := range built(t) {
		src := open(t, file)
		entry, ok := src.Symbols().Lookup("entry")
		if !ok {
			continue
		}
		frames, err := src.(debuginfo.Lines).Frames(entry.Addr)
		if err != nil || len(frames) != 1 {
			t.Errorf("%s: frames of entry: %v %v", file, frameNames(frames), err)
			continue
		}
		got := map[string]string{}
		for _, l := range frames[0].Locals {
			if l.Parameter {
				got[l.Name] = l.Type.String()
				if l.Location == nil {
					t.Errorf("%s: %s is nowhere at the start of entry", file, l.Name)
				}
			}
		}
		if got["e"] != "struct everything *" || got["count"] != "int" {
			t.Errorf("%s: parameters of entry: %v", file, got)
		}
		if frames[0].FrameBase == nil {
			t.Errorf("%s: entry has no frame base", file)
		}
	}
}

// BenchmarkFrames resolves addresses of text to functions, lines and locals.
func BenchmarkFrames(b *testing.B) {
	src := open(b, vmlinux(b))
	addrs := sampleText(src, 2000)
	lines := src.(debuginfo.Lines)
	n := 0
	for b.Loop() {
		if _, err := lines.Frames(addrs[n%len(addrs)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
