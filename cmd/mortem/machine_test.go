package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/dump/dumpwriter"
)

// machine is a small synthetic x86-64 machine whose kernel is mapped from
// physical 0 on by one page of 2 MiB, with a VMCOREINFO that says so.
type machine struct {
	mem  dumpwriter.PageMap
	next uint64 // physical address of the next page to take
	info strings.Builder
	cfg  dumpwriter.Config
}

const kernelMap = 0xffffffff80000000

func newMachine(release string) *machine {
	m := &machine{mem: dumpwriter.PageMap{}, next: 0x4000}
	entry := func(page, index, value uint64) {
		if m.mem[page] == nil {
			m.mem[page] = make([]byte, 4096)
		}
		binary.LittleEndian.PutUint64(m.mem[page][index*8:], value)
	}
	entry(1, 511, 0x2003)
	entry(2, 510, 0x3003)
	entry(3, 0, 0x83) // 2 MiB
	m.say("OSRELEASE=%s\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=%x\nNUMBER(phys_base)=0", release, uint64(kernelMap+0x1000))
	m.cfg = dumpwriter.Config{
		Codec:     dumpwriter.All(dumpwriter.Zlib),
		DumpLevel: 31,
		Uts: dumpwriter.Utsname{Sysname: "Linux", Nodename: "db7.example", Release: release,
			Version: "#1 SMP Tue Mar 10 2020", Machine: "x86_64", Domainname: "(none)"},
	}
	return m
}

func (m *machine) say(format string, args ...any) { fmt.Fprintf(&m.info, format+"\n", args...) }

// place puts data into pages of its own and returns its virtual address.
func (m *machine) place(data []byte) uint64 {
	at := m.next
	for len(data) > 0 {
		n := min(len(data), 4096)
		m.mem[m.next>>12] = append([]byte(nil), data[:n]...)
		data = data[n:]
		m.next += 4096
	}
	return kernelMap + at
}

// variable makes a variable of 4 or 8 bytes and names it in VMCOREINFO.
func (m *machine) variable(name string, value uint64) {
	m.say("SYMBOL(%s)=%x", name, m.place(binary.LittleEndian.AppendUint64(nil, value)))
}

// byteLog gives the machine the log of a kernel up to 3.4.
func (m *machine) byteLog(text string) {
	ring := make([]byte, 1<<(12+len(text)>>12))
	m.variable("log_buf", m.place(append(ring[:0:0], append([]byte(text), ring[len(text):]...)...)))
	m.variable("log_end", uint64(len(text)))
	m.variable("log_buf_len", uint64(len(ring)))
	m.variable("logged_chars", uint64(len(text)))
}

// logged is a record for recordLog.
type logged struct {
	at       time.Duration
	facility byte
	level    byte
	flags    byte // 2: ends a line, 4: begins one, 8: a piece
	caller   uint32
	text     string
	dict     string
}

// recordLog gives the machine the log of a kernel of 5.1 to 5.9, and returns the
// virtual address of the ring and the offsets of the records in it.
func (m *machine) recordLog(records []logged) (ring uint64, offsets []int) {
	const header = 20
	var b []byte
	le := binary.LittleEndian
	for _, r := range records {
		offsets = append(offsets, len(b))
		n := (header + len(r.text) + len(r.dict) + 3) &^ 3
		h := le.AppendUint64(nil, uint64(r.at))
		h = le.AppendUint16(h, uint16(n))
		h = le.AppendUint16(h, uint16(len(r.text)))
		h = le.AppendUint16(h, uint16(len(r.dict)))
		h = append(h, r.facility, r.flags|r.level<<5)
		h = le.AppendUint32(h, r.caller)
		h = append(append(h, r.text...), r.dict...)
		b = append(b, append(h, make([]byte, n-len(h))...)...)
	}
	next := len(b)
	b = append(b, make([]byte, 16<<10-len(b))...)
	ring = m.place(b)
	m.variable("log_buf", ring)
	m.variable("log_buf_len", uint64(len(b)))
	m.variable("log_first_idx", 0)
	m.variable("log_next_idx", uint64(next))
	m.say("SIZE(printk_log)=20\nOFFSET(printk_log.ts_nsec)=0\nOFFSET(printk_log.len)=8\nOFFSET(printk_log.text_len)=10\n" +
		"OFFSET(printk_log.dict_len)=12\nOFFSET(printk_log.caller_id)=16")
	return ring, offsets
}

// write writes the machine's dump.
func (m *machine) write(t *testing.T) string {
	t.Helper()
	m.cfg.VMCoreInfo = m.info.String()
	path := filepath.Join(t.TempDir(), "vmcore")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dumpwriter.Kdump(f, m.mem, m.cfg); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// golden compares a text with the file that holds what it should be.
// MORTEM_UPDATE=1 writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("MORTEM_UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has changed. Now:\n%s", name, got)
	}
}
