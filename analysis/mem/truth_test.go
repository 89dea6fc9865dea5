package mem_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/mem"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

func analyze(t testing.TB, fs *vfs.FS) *mem.Report {
	t.Helper()
	r, err := mem.Analyze(context.Background(), fs, mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Coverage.Complete() {
		t.Errorf("%+v", r.Coverage)
	}
	return r
}

// meminfo is /proc/meminfo of the guest, in bytes.
func meminfo(text string) map[string]uint64 {
	values := make(map[string]uint64)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 3 && f[2] == "kB" {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			values[strings.TrimSuffix(f[0], ":")] = n << 10
		}
	}
	return values
}

// boots are the fixtures' dumps with what their guests knew.
func boots(t *testing.T, f func(t *testing.T, fs *vfs.FS, guest *truth.Truth)) {
	t.Run("main", func(t *testing.T) { f(t, kerneltest.MainFS(t), fixtures.Truth(t, "main")) })
	t.Run("kdump", func(t *testing.T) {
		f(t, kerneltest.FS(t, fixtures.Unpacked(t, "kdump/vmcore.kdump")), fixtures.Truth(t, "kdump"))
	})
	t.Run("small", func(t *testing.T) {
		f(t, kerneltest.FS(t, fixtures.OnDemand(t, "small/vmcore.fixed.elf")), fixtures.OnDemandTruth(t, "small"))
	})
}

// moving are the lines that changed after the guest read them: its recorder took pages
// for what it had read. They are held to what must not change.
var moving = map[string]bool{"MemFree": true, "MemAvailable": true, "AnonPages": true, "Inactive": true}

// Each line of /proc/meminfo is within 1 % of what the guest said a second before; what
// the recorder took from free memory since then is among anonymous and inactive pages.
func TestMeminfo(t *testing.T) {
	boots(t, func(t *testing.T, fs *vfs.FS, guest *truth.Truth) {
		r := analyze(t, fs)
		text, err := json.Marshal(r.Info)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]uint64
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		want := meminfo(guest.Late["/proc/meminfo"])
		compared := 0
		for name, v := range got {
			w, ok := want[name]
			if !ok || moving[name] {
				continue
			}
			if compared++; apart(v, w) > max(w/100, 16<<10) {
				t.Errorf("%s: %d, the guest says %d", name, v, w)
			}
		}
		if compared < 25 {
			t.Errorf("only %d lines compared", compared)
		}
		both := func(m map[string]uint64) uint64 { return m["MemFree"] + m["AnonPages"] }
		if apart(both(got), both(want)) > both(want)/100 {
			t.Errorf("free and anonymous pages: %d, the guest says %d", both(got), both(want))
		}
		if grown := got["AnonPages"] - want["AnonPages"]; apart(got["Inactive"]-want["Inactive"], grown) > want["MemTotal"]/100 ||
			apart(got["MemAvailable"]+grown, want["MemAvailable"]) > want["MemTotal"]/100 || grown > 16<<20 {
			t.Errorf("%d bytes of anonymous pages more: %+v, the guest says %v", grown, r.Info, want)
		}
		checkUses(t, r)
	})
}

func apart(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// checkUses: the parts add up to the whole, and little of a machine of known use is
// unexplained.
func checkUses(t *testing.T, r *mem.Report) {
	t.Helper()
	sum := int64(0)
	for _, u := range r.Uses {
		sum += u.Bytes
	}
	last := r.Uses[len(r.Uses)-1]
	if sum != int64(r.Info.MemTotal) || last.Bytes < 0 || last.Bytes > int64(r.Info.MemTotal)/20 {
		t.Errorf("the parts add up to %d of %d; %q has %d", sum, r.Info.MemTotal, last.Name, last.Bytes)
	}
}

// Memory cgroups have the usage that their files said.
func TestCgroups(t *testing.T) {
	boots(t, func(t *testing.T, fs *vfs.FS, guest *truth.Truth) {
		byPath := make(map[string]mem.Cgroup)
		for _, c := range analyze(t, fs).Cgroups {
			byPath[c.Path] = c
		}
		compared := 0
		for path, files := range guest.Cgroups {
			text, ok := files["memory.current"]
			if !ok {
				continue
			}
			compared++
			want, _ := strconv.ParseUint(text, 10, 64)
			if c, ok := byPath[path]; !ok || apart(c.Usage, want) > want/100 || c.Offline {
				t.Errorf("%s: %+v, the guest says %d", path, c, want)
			}
		}
		if compared < 3 {
			t.Errorf("only %d groups compared", compared)
		}
	})
}

// Nearly all areas of the guest's tasks were taken by kernel_clone, which is what
// /proc/vmallocinfo says of them.
func TestVmalloc(t *testing.T) {
	r := analyze(t, kerneltest.MainFS(t))
	want := 0
	for line := range strings.Lines(fixtures.Truth(t, "main").Early["/proc/vmallocinfo"]) {
		if strings.Contains(line, " kernel_clone+") {
			want++
		}
	}
	for _, c := range r.Vmalloc {
		if c.Caller == "kernel_clone" && int(c.Areas) >= want-5 && int(c.Areas) <= want+30 && c.Memory == c.Areas*16384 {
			return
		}
	}
	t.Errorf("%+v, the guest has %d areas of kernel_clone", r.Vmalloc, want)
}

// crash's kmem -i of the same dump.
func TestCrash(t *testing.T) {
	b, err := os.ReadFile(fixtures.Unpacked(t, "main/crash.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	i := analyze(t, kerneltest.MainFS(t)).Info
	for _, c := range []struct {
		name string
		got  uint64
	}{{"TOTAL MEM", i.MemTotal}, {"FREE", i.MemFree}, {"BUFFERS", i.Buffers}, {"CACHED", i.Cached},
		{"TOTAL SWAP", i.SwapTotal}, {"COMMIT LIMIT", i.CommitLimit}} {
		want, ok := crashPages(text, c.name)
		if !ok || apart(c.got/4096, want) > want/100 {
			t.Errorf("%s: %d pages, crash says %d", c.name, c.got/4096, want)
		}
	}
}

// crashPages is the number of pages in a line of kmem -i.
func crashPages(text, name string) (uint64, bool) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name+" ")
		if f := strings.Fields(rest); ok && len(f) > 1 {
			n, err := strconv.ParseUint(f[0], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

func Example() {
	fs := kerneltest.ExampleFS()
	r, err := mem.Analyze(context.Background(), fs, mem.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println("MemTotal:", r.Info.MemTotal>>10, "kB")
	// Output: MemTotal: 492544 kB
}
