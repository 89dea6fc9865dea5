package kallsyms

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/dump"
)

// find looks for the tables in the memory of the kernel image.
//
// The token table is told by the digits: the bytes '0' to '9' stand for
// themselves, for names with digits are never rare. The index behind it must
// agree with it string by string. Before it are the number of symbols, their
// names, and one marker for each 256 names, which must agree with the names.
func find(mem Memory, info *dump.VMCoreInfo) (*tables, error) {
	stext, ok := info.Symbol("_stext")
	if !ok {
		return nil, fmt.Errorf("%w: VMCOREINFO does not say where the kernel image is (SYMBOL(_stext))", ErrNotFound)
	}
	hits := 0
	for at := range search(mem, stext, digits()) {
		if hits++; hits > maxHits {
			break
		}
		tokenTable, tokenIndex, ok := tokenTables(mem, at)
		if !ok {
			continue
		}
		if t := before(mem, stext, tokenTable, tokenIndex); t != nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("%w (a kernel without CONFIG_KALLSYMS, or its pages are not in the dump)", ErrNotFound)
}

// digits is how ten of the tokens look.
func digits() []byte {
	var b []byte
	for c := byte('0'); c <= '9'; c++ {
		b = append(b, c, 0)
	}
	return b
}

const (
	imageSize = 1 << 30   // the kernel image's window, KERNEL_IMAGE_SIZE at most
	maxHole   = 64 << 20  // of unreadable memory in the image
	chunk     = 256 << 10 // read at a time
	page      = 4096
	maxHits   = 64 // places with the digits that are looked at more closely
)

// search yields the virtual addresses of a pattern in the kernel image.
func search(mem Memory, start uint64, pattern []byte) func(yield func(uint64) bool) {
	return func(yield func(uint64) bool) {
		buf := make([]byte, chunk+len(pattern)-1)
		hole := 0
		for at := start; at-start < imageSize && hole < maxHole; {
			n, err := mem.Read(buf, at)
			for from := 0; ; {
				i := bytes.Index(buf[from:n], pattern)
				if i < 0 {
					break
				}
				if !yield(at + uint64(from+i)) {
					return
				}
				from += i + 1
			}
			if err == nil {
				at, hole = at+chunk, 0
				continue
			}
			// On to the page behind the one that cannot be read.
			next := (at + uint64(n)) &^ (page - 1)
			at, hole = next+page, hole+page
			if n > 0 {
				hole = page
			}
		}
	}
}

// tokenTables finds the table and the index around the tokens of the digits.
func tokenTables(mem Memory, zero uint64) (table, index uint64, ok bool) {
	behind, n := make([]byte, maxTokens+1024), 0
	if n, _ = mem.Read(behind, zero); n == 0 {
		return 0, 0, false
	}
	behind = behind[:n]
	end := 0
	for range tokenCount - '0' {
		i := bytes.IndexByte(behind[end:], 0)
		if i < 0 {
			return 0, 0, false
		}
		end += i + 1
	}
	index = (zero + uint64(end) + 7) &^ 7
	places := behind[min(index-zero, uint64(n)):]
	if len(places) < 2*tokenCount {
		return 0, 0, false
	}
	table = zero - uint64(binary.LittleEndian.Uint16(places[2*'0':]))
	text, err := readAll(mem, table, index-table)
	if err != nil {
		return 0, 0, false
	}
	return table, index, agree(text, places)
}

// agree tells whether the index has the start of each string of the table.
func agree(text, places []byte) bool {
	at := 0
	for i := range tokenCount {
		if int(binary.LittleEndian.Uint16(places[2*i:])) != at {
			return false
		}
		n := bytes.IndexByte(text[min(at, len(text)):], 0)
		if n < 0 {
			return false
		}
		at += n + 1
	}
	return len(text)-at < 8
}

// Bounds of the search for the names, before the token table.
const (
	window   = 16 << 20
	minNames = 256
	maxSteps = 64 << 20 // names looked at, right or wrong
)

// before finds the number of symbols and the names before the token table.
func before(mem Memory, stext, tokenTable, tokenIndex uint64) *tables {
	buf := readBack(mem, max(stext, tokenTable-min(tokenTable, window))&^7, tokenTable)
	start := tokenTable - uint64(len(buf))
	steps := maxSteps
	for i := (len(buf) - 16) &^ 7; i >= 0; i -= 8 {
		count := binary.LittleEndian.Uint64(buf[i:])
		if count < minNames || count > maxSymbols || !marked(buf[i+8:], int(count), &steps) {
			continue
		}
		num := start + uint64(i)
		t := &tables{layouts: guessedLayouts(num, tokenIndex, count)}
		if t.load(mem, num, num+8, tokenTable, tokenIndex) == nil {
			return t
		}
	}
	return nil
}

// readBack reads the memory from start to end, or as much before end as can be
// read in one piece.
func readBack(mem Memory, start, end uint64) []byte {
	if start >= end {
		return nil
	}
	buf := make([]byte, end-start)
	for at := start; at < end; {
		n, err := mem.Read(buf[at-start:], at)
		if err == nil {
			return buf[at-start:]
		}
		at = (at+uint64(n))&^(page-1) + page
	}
	return nil
}

// marked tells whether the bytes begin with that many names and the markers
// of every 256th behind them: the markers are what no other data has. They
// have 32 bits since 4.20, and had 64.
func marked(b []byte, count int, steps *int) bool {
	var marks []uint64
	rest := b
	for i := range count {
		if *steps--; *steps < 0 {
			return false
		}
		if i%256 == 0 {
			marks = append(marks, uint64(len(b)-len(rest)))
		}
		var ok bool
		if _, rest, ok = record(rest); !ok {
			return false
		}
	}
	used := (len(b) - len(rest) + 7) &^ 7
	return used <= len(b) && (equal(b[used:], marks, 4) || equal(b[used:], marks, 8))
}

func equal(b []byte, marks []uint64, width int) bool {
	if len(b) < len(marks)*width {
		return false
	}
	for i, m := range marks {
		got := uint64(binary.LittleEndian.Uint32(b[i*width:]))
		if width == 8 {
			got = binary.LittleEndian.Uint64(b[i*width:])
		}
		if got != m {
			return false
		}
	}
	return true
}

// guessedLayouts are where the addresses may be around the other parts: before
// kallsyms_num_syms until 6.3, behind kallsyms_token_index since 6.4. Each part
// begins at a multiple of 8 bytes.
func guessedLayouts(num, tokenIndex, count uint64) []layout {
	short := (4*count + 7) &^ 7
	behind := tokenIndex + 2*tokenCount
	return []layout{
		{form: percpuRelative, table: num - 8 - short, base: num - 8},
		{form: baseRelative, table: num - 8 - short, base: num - 8},
		{form: absolute, table: num - 8*count},
		{form: percpuRelative, table: behind, base: behind + short},
		{form: baseRelative, table: behind, base: behind + short},
		{form: absolute, table: behind},
		{form: placeRelative, table: behind},
	}
}
