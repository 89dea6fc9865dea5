package dump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// damageCase is one way to damage a raw image of damageMachine, and what then
// becomes of it.
type damageCase struct {
	name       string
	damage     func(data []byte) []byte
	err        error // of opening, nil if it opens
	incomplete bool
	want       outcome
}

// damageMachine has three stretches of 40 pages, of which each page is
// different.
func damageMachine() dumpwriter.PageMap {
	m := dumpwriter.PageMap{}
	for pfn := range uint64(140) {
		if pfn%50 < 40 {
			m[pfn] = bytes.Repeat(binary.LittleEndian.AppendUint64(nil, 0x1234567890+pfn*0x10001), 512)
		}
	}
	return m
}

const stretch = 40 * 4096

func put64(at int, val uint64) func([]byte) []byte {
	return func(data []byte) []byte {
		binary.LittleEndian.PutUint64(data[at:], val)
		return data
	}
}

func cutAt(n int) func([]byte) []byte { return func(data []byte) []byte { return data[:n] } }

func flip(at int) func([]byte) []byte {
	return func(data []byte) []byte {
		data[at] ^= 0x10
		return data
	}
}

func testDamage(t *testing.T, data []byte, mem dumpwriter.PageMap, cases []damageCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			img, err := dump.Open([]string{file(t, c.damage(bytes.Clone(data)))})
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Fatalf("got %v, want %v", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			if f := img.Facts(); f.Incomplete != c.incomplete || c.incomplete && len(f.Warnings) == 0 {
				t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
			}
			if got := readPages(t, img, mem, 4096); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestLiMEDamage(t *testing.T) {
	const second = 32 + stretch
	mem := damageMachine()
	testDamage(t, build(t, dumpwriter.LiME, mem, dumpwriter.Config{}), mem, []damageCase{
		{"whole", func(d []byte) []byte { return d }, nil, false, outcome{good: 120}},
		{"cut within the first header", cutAt(20), dump.ErrDamaged, true, outcome{}},
		{"cut behind the first header", cutAt(32), nil, true, outcome{missing: 120}},
		{"cut within the first range", cutAt(32 + 10*4096 + 100), nil, true, outcome{good: 10, missing: 110}},
		{"cut within the second header", cutAt(second + 8), nil, true, outcome{good: 40, missing: 80}},
		{"cut within the third range", cutAt(2*second + 32 + 5*4096), nil, true, outcome{good: 85, missing: 35}},
		{"first version", flip(4), dump.ErrDamaged, true, outcome{}},
		{"first range ends before it begins", put64(8, 1<<40), dump.ErrDamaged, true, outcome{}},
		{"second magic", flip(second), nil, true, outcome{good: 40, missing: 80}},
		{"zeros behind the first range", func(d []byte) []byte {
			clear(d[second:])
			return d
		}, nil, true, outcome{good: 40, missing: 80}},
		{"second version", flip(second + 4), nil, true, outcome{good: 40, missing: 80}},
		{"second range ends before it begins", put64(second+16, 0), nil, true, outcome{good: 40, missing: 80}},
	})
}

func TestAVMLDamage(t *testing.T) {
	mem := damageMachine()
	cfg := dumpwriter.Config{MaxSegment: 20} // two chunks a block
	data := build(t, dumpwriter.AVML, mem, cfg)
	var blocks []int // offsets of the headers, and of the end
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte("AVML\x02\x00\x00\x00"))
		if i < 0 {
			break
		}
		blocks = append(blocks, at+i)
		at += i + 1
	}
	if len(blocks) != 6 {
		t.Fatalf("%d blocks", len(blocks))
	}
	size := blocks[1]                                       // all are nearly the same
	first := func(i int) int { return blocks[i] + 32 + 10 } // chunk of block i
	second := func(i int) int {
		n := int(data[first(i)+1]) | int(data[first(i)+2])<<8 | int(data[first(i)+3])<<16
		return first(i) + 4 + n
	}
	end := len(data)
	testDamage(t, data, mem, []damageCase{
		{"whole", func(d []byte) []byte { return d }, nil, false, outcome{good: 120}},
		{"version", flip(4), dump.ErrUnsupported, true, outcome{}},
		{"cut within the first header", cutAt(20), dump.ErrDamaged, true, outcome{}},
		{"cut within the first stream", cutAt(50), nil, true, outcome{missing: 120}},
		{"cut behind the first chunk", cutAt(second(0)), nil, true, outcome{good: 16, missing: 104}},
		{"cut within the third block", cutAt(second(2) + 10), nil, true, outcome{good: 56, missing: 64}},
		{"cut within the last length", cutAt(end - 3), nil, true, outcome{good: 120}},
		{"last length", flip(end - 7), nil, true, outcome{good: 120}},
		{"second length", flip(blocks[2] - 6), nil, true, outcome{good: 120}},
		{"third header", flip(blocks[2]), nil, true, outcome{good: 100, missing: 20}},
		{"third range ends before it begins", put64(blocks[2]+16, 0), nil, true, outcome{good: 100, missing: 20}},
		{"third stream's name", flip(blocks[2] + 36), nil, true, outcome{good: 100, missing: 20}},
		{"length of the first chunk", flip(first(1) + 3), nil, false, outcome{good: 100, missing: 20}},
		{"type of the first chunk", flip(first(1)), nil, false, outcome{good: 100, corrupt: 20}},
		{"type of the second chunk", flip(second(1)), nil, false, outcome{good: 116, corrupt: 4}},
		{"checksum of the first chunk", flip(first(1) + 5), nil, false, outcome{good: 104, corrupt: 16}},
		{"bytes of the first chunk", flip(first(1) + 40), nil, false, outcome{good: 104, corrupt: 16}},
		{"unpacked length of the first chunk", func(d []byte) []byte {
			copy(d[first(1)+8:], "\xff\xff\xff\xff\x0f")
			return d
		}, nil, false, outcome{good: 100, corrupt: 20}},
		{"bytes behind the end", func(d []byte) []byte { return append(d, "trailing"...) }, nil, true, outcome{good: 120}},
		{"the same block twice", func(d []byte) []byte { return append(d, d[:size]...) }, nil, false, outcome{good: 120}},
	})
}

func TestVMwareDamage(t *testing.T) {
	mem := damageMachine()
	stem := vmFiles(t, mem, ".vmss", false, false)
	state, err := os.ReadFile(stem + ".vmss")
	if err != nil {
		t.Fatal(err)
	}
	vmem, err := os.ReadFile(stem + ".vmem")
	if err != nil {
		t.Fatal(err)
	}
	find := func(name string, nth int) int { // offset behind the name of a tag
		at := 0
		for ; nth >= 0; nth-- {
			i := bytes.Index(state[at:], []byte(name))
			if i < 0 {
				t.Fatalf("no tag %s", name)
			}
			at += i + len(name)
		}
		return at
	}
	for _, c := range []struct {
		name       string
		damage     func(state, vmem []byte) ([]byte, []byte)
		err        error
		incomplete bool
		want       outcome
	}{
		{"whole", func(s, m []byte) ([]byte, []byte) { return s, m }, nil, false, outcome{good: 120}},
		{"header cut", func(s, m []byte) ([]byte, []byte) { return s[:10], m }, dump.ErrFormat, false, outcome{}},
		{"groups cut", func(s, m []byte) ([]byte, []byte) { return s[:100], m }, dump.ErrDamaged, false, outcome{}},
		{"number of groups", func(s, m []byte) ([]byte, []byte) { return put64(8, 1<<31)(s), m }, dump.ErrDamaged, false, outcome{}},
		{"place of the CPU group", func(s, m []byte) ([]byte, []byte) { return put64(12+64, 1<<63)(s), m }, nil, true, outcome{good: 120}},
		{"tags cut", func(s, m []byte) ([]byte, []byte) { return s[:find("regionPPN", 1)-5], m }, nil, true, outcome{good: 40, missing: 80}},
		{"memory cut", func(s, m []byte) ([]byte, []byte) { return s, m[:50*4096+1] }, nil, true, outcome{good: 50, missing: 70}},
		{"a region beyond the file", func(s, m []byte) ([]byte, []byte) {
			binary.LittleEndian.PutUint32(s[find("regionPageNum", 1)+4:], 1<<30)
			return s, m
		}, nil, true, outcome{good: 80, missing: 40}},
		{"a 32-bit product", func(s, m []byte) ([]byte, []byte) {
			binary.LittleEndian.PutUint32(s, 0xbed0bed0)
			return s, m
		}, dump.ErrUnsupported, false, outcome{}},
		{"two state files", func(s, _ []byte) ([]byte, []byte) { return s, s }, dump.ErrFormat, false, outcome{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, m := c.damage(bytes.Clone(state), vmem)
			stem := t.TempDir() + "/machine"
			put(t, stem+".vmss", s)
			put(t, stem+".vmem", m)
			img, err := dump.Open([]string{stem + ".vmss", stem + ".vmem"})
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Fatalf("got %v, want %v", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			if f := img.Facts(); f.Incomplete != c.incomplete || c.incomplete && len(f.Warnings) == 0 {
				t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
			}
			if got := readPages(t, img, mem, 4096); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
