package printk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/kmortem/mortem/dump"
)

// ram is kernel memory for tests, from one address on, with pages that cannot
// be read.
type ram struct {
	base  uint64
	data  []byte
	holes map[uint64]bool // by the address of the page
	vars  strings.Builder // VMCOREINFO
	align uint64          // of what is allocated
}

const testPage = 4096

var errHole = errors.New("a hole in the test's memory")

func newRAM() *ram {
	return &ram{base: 0xffff_8880_0000_0000, holes: map[uint64]bool{}, align: testPage}
}

// Read implements memory.
func (r *ram) Read(buf []byte, virt uint64) (int, error) {
	for n := 0; n < len(buf); {
		at := virt + uint64(n)
		off := at - r.base
		if off >= uint64(len(r.data)) || r.holes[at&^(testPage-1)] {
			return n, fmt.Errorf("%#x: %w", at, errHole)
		}
		page := r.data[off:min(off|(testPage-1)+1, uint64(len(r.data)))]
		n += copy(buf[n:], page)
	}
	return len(buf), nil
}

// alloc takes memory in whole pages, as a rule.
func (r *ram) alloc(size uint64) uint64 {
	at := r.base + uint64(len(r.data))
	r.data = append(r.data, make([]byte, (size+r.align-1)&^(r.align-1))...)
	return at
}

func (r *ram) bytes(addr uint64) []byte { return r.data[addr-r.base:] }

func (r *ram) put16(addr uint64, v uint16) { binary.LittleEndian.PutUint16(r.bytes(addr), v) }
func (r *ram) put32(addr uint64, v uint32) { binary.LittleEndian.PutUint32(r.bytes(addr), v) }
func (r *ram) put64(addr uint64, v uint64) { binary.LittleEndian.PutUint64(r.bytes(addr), v) }

func (r *ram) get64(addr uint64) uint64 { return binary.LittleEndian.Uint64(r.bytes(addr)) }

// variable makes a variable of the kernel and names it in VMCOREINFO.
func (r *ram) variable(name string, size uint64) uint64 {
	at := r.alloc(size)
	fmt.Fprintf(&r.vars, "SYMBOL(%s)=%x\n", name, at)
	return at
}

func (r *ram) say(format string, args ...any) { fmt.Fprintf(&r.vars, format+"\n", args...) }

func (r *ram) source() source {
	return source{
		mem:   r,
		names: fromVMCoreInfo{dump.ParseVMCoreInfo([]byte(r.vars.String()))},
		order: binary.LittleEndian,
		page:  testPage,
		held:  uint64(len(r.data)),
	}
}

// collect reads a whole log.
func collect(l *Log) (records []Record, lost []*LostError) {
	for r, err := range l.Records() {
		var e *LostError
		if errors.As(err, &e) {
			lost = append(lost, e)
			continue
		}
		records = append(records, r)
	}
	return records, lost
}

// texts are the texts of records.
func texts(records []Record) []string {
	var all []string
	for _, r := range records {
		all = append(all, string(r.Text))
	}
	return all
}
