package dump

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump/dumpwriter"
)

func TestPRStatus(t *testing.T) {
	for _, test := range []struct {
		arch Arch
		bits int
		big  bool
		regs int
		last string
		size int
	}{
		{ArchX86_64, 64, false, 27, "gs", 336},
		{ArchX86, 32, false, 17, "ss", 144},
		{ArchARM64, 64, false, 34, "pstate", 392},
		{ArchARM, 32, false, 18, "orig_r0", 148},
		{ArchPPC64, 64, true, 48, "", 504},
		{ArchS390X, 64, true, 27, "", 336},
		{ArchRISCV64, 64, false, 32, "t6", 376},
		{ArchUnknown, 64, false, 5, "", 160},
	} {
		order := binary.ByteOrder(binary.LittleEndian)
		if test.big {
			order = binary.BigEndian
		}
		regs := make([]uint64, test.regs)
		for i := range regs {
			regs[i] = uint64(1000 + i)
		}
		n := dumpwriter.PRStatus(order, test.bits, 4711, regs)
		if len(n.Desc) != test.size {
			t.Errorf("%s: a note of %d bytes", test.arch, len(n.Desc))
		}
		cpu := parsePRStatus(n.Desc, test.arch, fields{order: order, is64: test.bits == 64})
		if cpu.PID != 4711 {
			t.Errorf("%s: pid %d", test.arch, cpu.PID)
		}
		if test.last != "" {
			if v, ok := cpu.Register(test.last); !ok || v != uint64(1000+test.regs-1) {
				t.Errorf("%s: %s = %d, %v", test.arch, test.last, v, ok)
			}
		}
		if test.arch != ArchUnknown && cpu.General[0].Value != 1000 {
			t.Errorf("%s: %+v", test.arch, cpu.General)
		}
	}
}

// TestNotes32: a 64-bit machine that runs 32-bit code when QEMU dumps it.
func TestNotes32(t *testing.T) {
	regs := make([]uint64, 17)
	regs[12] = 0xfff0
	n := dumpwriter.PRStatus(binary.LittleEndian, 32, 1, regs)
	cpu := parsePRStatus(n.Desc, ArchX86_64, fields{order: binary.LittleEndian, is64: true})
	if ip, ok := cpu.Register("ip"); !ok || ip != 0xfff0 || cpu.PID != 1 {
		t.Errorf("%+v", cpu)
	}
}

func TestNotesDamaged(t *testing.T) {
	good := binary.LittleEndian.AppendUint32(nil, 11)
	good = binary.LittleEndian.AppendUint32(good, 8)
	good = binary.LittleEndian.AppendUint32(good, 0)
	good = append(good, "VMCOREINFO\x00\x00A=1\nB=2\n"...)
	bad := append(slices.Clone(good), good...)
	bad[len(good)+5] = 0xff // its length
	for name, test := range map[string]struct {
		data []byte
		warn string
	}{
		"good":              {good, ""},
		"padded":            {append(make([]byte, 64), good...), ""},
		"twice the same":    {append(slices.Clone(good), good...), ""},
		"second too long":   {bad, "damaged"},
		"rest of a header":  {append(slices.Clone(good), 1, 2, 3), ""},
		"two that disagree": {append(slices.Clone(good), strings.Replace(string(good), "B=2", "B=3", 1)...), "differs"},
	} {
		f := Facts{Arch: ArchX86_64, Is64: true, ByteOrder: binary.LittleEndian}
		f.takeNotes(test.data)
		if v, _ := f.VMCoreInfo.Get("B"); v != "2" {
			t.Errorf("%s: B is %q", name, v)
		}
		if len(f.Warnings) > 0 != (test.warn != "") || test.warn != "" && !strings.Contains(f.Warnings[0], test.warn) {
			t.Errorf("%s: warnings %q", name, f.Warnings)
		}
	}
}
