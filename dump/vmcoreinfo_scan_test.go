package dump_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// memory is the memory of a machine from physical address 0 on.
type memory []byte

// machine returns it by its pages.
func (m memory) machine() dumpwriter.PageMap {
	pages := dumpwriter.PageMap{}
	for pfn := range uint64(len(m) / 4096) {
		pages[pfn] = m[pfn*4096:][:4096]
	}
	return pages
}

func (m memory) put(addr int, data string) { copy(m[addr:], data) }

// putUts writes the strings of a kernel's init_uts_ns.
func (m memory) putUts(addr int, release, machine string) {
	for i, s := range []string{"Linux", "crashed", release, "#1 SMP", machine, "(none)"} {
		m.put(addr+65*i, s+"\x00")
	}
}

// infoText is a VMCOREINFO that says init_uts_ns is at a physical address.
func infoText(release string, uts int) string {
	return fmt.Sprintf("OSRELEASE=%s\nBUILD-ID=0123\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=%x\nOFFSET(uts_namespace.name)=0\nNUMBER(phys_base)=0\nKERNELOFFSET=0\n",
		release, 0xffffffff80000000+uint64(uts))
}

// infoNote is the text as a note.
func infoNote(order binary.ByteOrder, text string) string {
	var head [12]byte
	order.PutUint32(head[:], 11)
	order.PutUint32(head[4:], uint32(len(text)))
	return string(head[:]) + "VMCOREINFO\x00\x00" + text
}

func TestVMCoreInfoScan(t *testing.T) {
	const uts, other = 0x5040, 0x7040
	little := binary.ByteOrder(binary.LittleEndian)
	own, stale := infoText("6.1.0-own", uts), infoText("5.4.0-stale", other)
	old := strings.Replace(strings.Replace(own, "BUILD-ID=0123\n", "", 1), "OFFSET(uts_namespace.name)=0\n", "", 1)
	for _, c := range []struct {
		name string
		put  func(m memory)
		want string // release found, empty if none
		warn string
	}{
		{"note", func(m memory) { m.put(0x9000, infoNote(little, own)) }, "6.1.0-own", ""},
		{"text in its page", func(m memory) { m.put(0x9000, own) }, "6.1.0-own", ""},
		{"note of an old kernel, over two pages", func(m memory) { m.put(0x9fd4, infoNote(little, old)) }, "6.1.0-own", ""},
		{"pattern over two pages", func(m memory) { m.put(0xa000-24-4, infoNote(little, own)) }, "6.1.0-own", ""},
		{"name of the note over two pages", func(m memory) { m.put(0xa000-16, infoNote(little, own)) }, "6.1.0-own", ""},
		{"a stale one before it", func(m memory) {
			m.put(0x2000, infoNote(little, stale))
			m.put(0x9000, own)
		}, "6.1.0-own", ""},
		{"the string in a program", func(m memory) {
			m.put(0x2000, "OSRELEASE=%s\nPAGESIZE=%ld\n")
			m.put(0x3000, "xxxx"+own)
			m.put(0x9000, own)
		}, "6.1.0-own", ""},
		{"only a stale one", func(m memory) { m.put(0x2000, infoNote(little, stale)) }, "", "other kernels"},
		{"nothing tells whose", func(m memory) {
			m.put(0x2000, strings.Replace(stale, "NUMBER(phys_base)=0\n", "", 1))
		}, "5.4.0-stale", "nothing there tells"},
		{"uts_ns in a hole", func(m memory) { m.put(0x2000, infoText("5.4.0-stale", 1<<30)) }, "5.4.0-stale", "nothing there tells"},
		{"none", func(m memory) {}, "", ""},
		{"broken text", func(m memory) { m.put(0x9000, strings.Replace(own, "PAGESIZE", "PAGE\x01IZE", 1)) }, "", ""},
		{"cut text", func(m memory) { m.put(0x9000, own[:40]) }, "", ""},
		{"the note behind the text", func(m memory) {
			m.put(0x9000, own)
			m.put(0xb000, infoNote(little, own+"CRASHTIME=1700000000\n"))
		}, "6.1.0-own", ""},
		{"many in vain", func(m memory) {
			for at := 0x10000; at < 0x20000; at += 10 {
				m.put(at, "OSRELEASE=")
			}
			m.put(0x9000, own)
		}, "6.1.0-own", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := make(memory, 0x20000)
			m.putUts(uts, "6.1.0-own", "x86_64")
			c.put(m)
			for _, write := range []func() []byte{
				func() []byte { return build(t, dumpwriter.LiME, m.machine(), dumpwriter.Config{}) },
				func() []byte { return build(t, dumpwriter.AVML, m.machine(), dumpwriter.Config{}) },
				func() []byte { return build(t, dumpwriter.ELF, m.machine(), dumpwriter.Config{}) },
				func() []byte { return build(t, dumpwriter.Kdump, m.machine(), dumpwriter.Config{}) },
			} {
				img := mustOpen(t, []string{file(t, write())})
				f := img.Facts()
				got, _ := f.VMCoreInfo.Get("OSRELEASE")
				if got != c.want {
					t.Fatalf("%s: found %q, want %q", f.Format, got, c.want)
				}
				warned := strings.Join(f.Warnings, "; ")
				if (c.warn == "") != (warned == "") || !strings.Contains(warned, c.warn) {
					t.Errorf("%s: warnings %q, want %q", f.Format, warned, c.warn)
				}
				if c.warn == "" && c.want != "" && (f.Uts.Nodename != "crashed" && f.Format != dump.FormatKdump || f.Arch != dump.ArchX86_64) {
					t.Errorf("%s: %q of %+v", f.Format, f.Arch, f.Uts)
				}
				if crashed := f.Time.Unix() == 1700000000; crashed != strings.HasPrefix(c.name, "the note behind") {
					t.Errorf("%s: crashed at %v", f.Format, f.Time)
				}
				if uts, ok := dump.Uname(img); c.warn == "" && c.want != "" && (!ok || uts.Nodename != "crashed") {
					t.Errorf("%s: uname %+v", f.Format, uts)
				}
			}
		})
	}
}

// TestVMCoreInfoScanOther finds the kernels of other machines.
func TestVMCoreInfoScanOther(t *testing.T) {
	for _, c := range []struct {
		machine string
		arch    dump.Arch
		order   binary.ByteOrder
		virt    uint64 // of physical address 0x5040
		key     string
		page    int
	}{
		{"aarch64", dump.ArchARM64, binary.LittleEndian, 0xffff800008005040, "NUMBER(kimage_voffset)=0xffff800008000000\n", 65536},
		{"riscv64", dump.ArchRISCV64, binary.LittleEndian, 0xffffffff00005040, "NUMBER(va_kernel_pa_offset)=0xffffffff00000000\n", 4096},
		{"ppc64", dump.ArchPPC64, binary.BigEndian, 0xc000000000005040, "", 65536},
		{"i686", dump.ArchX86, binary.LittleEndian, 0xc0005040, "", 4096},
		{"s390x", dump.ArchS390X, binary.BigEndian, 0x5040, "", 4096},
	} {
		t.Run(c.machine, func(t *testing.T) {
			m := make(memory, 0x20000)
			m.putUts(0x5044, "6.1.0", c.machine) // behind a counter, as before 5.11
			m.put(0x10000, infoNote(c.order, fmt.Sprintf("OSRELEASE=6.1.0\nPAGESIZE=%d\nSYMBOL(init_uts_ns)=%x\n%s", c.page, c.virt, c.key)))
			img := mustOpen(t, []string{file(t, m)}, dump.WithRawMemory(0))
			f := img.Facts()
			if f.Arch != c.arch || f.ByteOrder != c.order || f.Is64 != (c.machine != "i686") || f.PageSize != uint64(c.page) || f.Release() != "6.1.0" || len(f.Warnings) > 0 {
				t.Errorf("%q, %v, 64-bit %v, page size %d, release %q, %q", f.Arch, f.ByteOrder, f.Is64, f.PageSize, f.Release(), f.Warnings)
			}
			if data, err := img.ViewPhys(0x10000, c.page); err != nil || !bytes.Equal(data, m[0x10000:][:c.page]) {
				t.Errorf("a page: %v", err)
			}
		})
	}
}

func TestVMCoreInfoScanOptions(t *testing.T) {
	m := make(memory, 200<<20)
	m.putUts(0x5040, "6.1.0", "x86_64")
	m.put(199<<20, infoText("6.1.0", 0x5040))
	path := file(t, m)
	if f := mustOpen(t, []string{path}, dump.WithRawMemory(0), dump.WithoutScan()).Facts(); f.VMCoreInfo != nil {
		t.Error("it was searched though it should not be")
	}
	var seen []dump.Progress
	f := mustOpen(t, []string{path}, dump.WithRawMemory(0), dump.WithProgress(func(p dump.Progress) { seen = append(seen, p) })).Facts()
	if f.VMCoreInfo == nil || !slices.Contains(f.Variant, "VMCOREINFO found in memory") {
		t.Errorf("not found: %q", f.Variant)
	}
	if len(seen) == 0 || seen[0].Total != 200<<20 || seen[0].Done <= 0 {
		t.Errorf("progress %+v", seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dump.Open([]string{path}, dump.WithRawMemory(0), dump.WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// BenchmarkVMCoreInfoScan searches the memory of a machine in vain.
func BenchmarkVMCoreInfoScan(b *testing.B) {
	m := make(memory, 256<<20)
	for i := range m {
		m[i] = byte(i * 7)
	}
	path := file(b, m)
	b.SetBytes(int64(len(m)))
	for b.Loop() {
		img, err := dump.Open([]string{path}, dump.WithRawMemory(0))
		if err != nil {
			b.Fatal(err)
		}
		img.Close()
	}
}
