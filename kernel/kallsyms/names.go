package kallsyms

import (
	"bytes"
	"encoding/binary"

	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

const tokenCount = 256

// tokens are what the bytes of a compressed name stand for.
type tokens [tokenCount]string

// parse reads the token table, NUL-terminated strings, by the index, which
// has the offset of each in 16 bits. A byte that does not print, which no
// kernel has in a name, is written out as text.
func (t *tokens) parse(table, index []byte) error {
	if len(index) < 2*tokenCount {
		return damaged("the token index ends early")
	}
	for i := range t {
		at := int(binary.LittleEndian.Uint16(index[2*i:]))
		if at >= len(table) {
			return damaged("token %d is outside of the token table", i)
		}
		end := bytes.IndexByte(table[at:], 0)
		if end < 0 {
			return damaged("token %d has no end", i)
		}
		t[i] = cstr.Show(table[at : at+end])
	}
	return nil
}

// record takes one compressed name from the front of the stream: its length,
// since 6.1 in two bytes where it exceeds 127, and a byte for each token.
func record(stream []byte) (codes, rest []byte, ok bool) {
	if len(stream) == 0 {
		return nil, nil, false
	}
	n, rest := int(stream[0]), stream[1:]
	if n >= 0x80 {
		if len(rest) == 0 {
			return nil, nil, false
		}
		n, rest = n&0x7f|int(rest[0])<<7, rest[1:]
	}
	if n == 0 || n > len(rest) {
		return nil, nil, false
	}
	return rest[:n], rest[n:], true
}

// Bounds against tables that expand without end. KSYM_NAME_LEN is 512 since
// 6.1 and was 128.
const (
	maxName = 1 << 10
	maxText = 64 << 20
)

// names expands all names, into symbols that lack their addresses. All of
// their text is one string.
func (t *tables) names() ([]debuginfo.Symbol, error) {
	text := make([]byte, 0, min(t.count*24, len(t.stream)*4))
	list := make([]debuginfo.Symbol, 0, min(t.count, len(t.stream)/2))
	ends := make([]int, 0, cap(list))
	rest := t.stream
	for i := range t.count {
		codes, after, ok := record(rest)
		if !ok {
			return nil, damaged("name %d of %d is cut short", i, t.count)
		}
		rest = after
		start := len(text)
		for _, c := range codes {
			text = append(text, t.tokens[c]...)
			if len(text)-start > maxName {
				return nil, damaged("name %d of %d is longer than any", i, t.count)
			}
		}
		if len(text)-start < 2 || len(text) > maxText {
			return nil, damaged("name %d of %d has no text, or all have too much", i, t.count)
		}
		kind, global := Kind(text[start])
		list = append(list, debuginfo.Symbol{Kind: kind, Global: global})
		ends = append(ends, len(text))
	}
	all, start := string(text), 0
	for i := range list {
		list[i].Name = all[start+1 : ends[i]]
		start = ends[i]
	}
	return list, nil
}
