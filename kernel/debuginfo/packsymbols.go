package debuginfo

import (
	"encoding/binary"
	"errors"

	"github.com/kmortem/mortem/kernel/cstr"
)

// encodeSymbols writes symbols in columns, ascending by address: the number;
// distances from address to address; sizes; kinds, with 0x80 for global ones;
// names, each with a zero behind it. Numbers are ULEB128 as encoding/binary
// writes them.
func encodeSymbols(s *Symbols) []byte {
	n := s.Len()
	out := binary.AppendUvarint(nil, uint64(n))
	prev := uint64(0)
	for sym := range s.All() {
		out = binary.AppendUvarint(out, sym.Addr-prev)
		prev = sym.Addr
	}
	for sym := range s.All() {
		out = binary.AppendUvarint(out, sym.Size)
	}
	for sym := range s.All() {
		kind := byte(sym.Kind)
		if sym.Global {
			kind |= 0x80
		}
		out = append(out, kind)
	}
	for sym := range s.All() {
		out = append(append(out, sym.Name...), 0)
	}
	return out
}

var errSymbols = errors.New("damaged table of symbols")

// decodeSymbols reads what encodeSymbols wrote.
func decodeSymbols(data []byte) (*Symbols, error) {
	r := varints{data: data}
	n := r.next()
	if n > uint64(len(data))/4 { // each symbol has four columns
		return nil, errSymbols
	}
	list := make([]Symbol, n)
	addr := uint64(0)
	for i := range list {
		addr += r.next()
		list[i].Addr = addr
	}
	for i := range list {
		list[i].Size = r.next()
	}
	if r.bad || uint64(len(r.data)) < n {
		return nil, errSymbols
	}
	for i := range list {
		list[i].Kind, list[i].Global = SymbolKind(r.data[i]&0x7f), r.data[i]&0x80 != 0
	}
	names := string(r.data[n:]) // one allocation for all
	for i := range list {
		end := 0
		for end < len(names) && names[end] != 0 {
			end++
		}
		if end == len(names) {
			return nil, errSymbols
		}
		list[i].Name, names = cstr.Name(names[:end]), names[end+1:]
	}
	return NewSymbols(list), nil
}

// varints reads numbers; bad is set at the end or at a number that is none.
type varints struct {
	data []byte
	bad  bool
}

func (v *varints) next() uint64 {
	n, size := binary.Uvarint(v.data)
	if size <= 0 {
		v.bad, v.data = true, nil
		return 0
	}
	v.data = v.data[size:]
	return n
}

// signed reads a number in zigzag form.
func (v *varints) signed() int64 {
	n := v.next()
	return int64(n>>1) ^ -int64(n&1)
}
