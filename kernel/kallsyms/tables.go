package kallsyms

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/dump"
)

// Bounds of what is believed. The largest kernels have a million symbols, and
// their names take some 12 bytes each.
const (
	maxSymbols = 1 << 22
	maxNames   = 64 << 20
	maxTokens  = 1 << 16 // the index has 16 bits
)

// tables is what was read of the symbol table, without the addresses.
type tables struct {
	count   int      // kallsyms_num_syms
	stream  []byte   // kallsyms_names, perhaps with something behind it
	tokens  tokens   // kallsyms_token_table, by kallsyms_token_index
	layouts []layout // where the addresses may be, and in which form
}

// locate finds the tables where VMCOREINFO says they are (since 6.0), or else
// by their shape.
func locate(mem Memory, info *dump.VMCoreInfo) (*tables, error) {
	names, ok := info.Symbol("kallsyms_names")
	if !ok {
		return find(mem, info)
	}
	t := &tables{}
	need := func(name string) uint64 {
		addr, told := info.Symbol(name)
		ok = ok && told
		return addr
	}
	num, table, index := need("kallsyms_num_syms"), need("kallsyms_token_table"), need("kallsyms_token_index")
	t.layouts = toldLayouts(info)
	if !ok || len(t.layouts) == 0 {
		return nil, fmt.Errorf("%w: VMCOREINFO has the address of kallsyms_names but not of the rest", ErrNotFound)
	}
	return t, t.load(mem, num, names, table, index)
}

// toldLayouts are the forms that the addresses may have by what VMCOREINFO
// names. kallsyms_relative_base was there until 6.19.
func toldLayouts(info *dump.VMCoreInfo) []layout {
	if at, ok := info.Symbol("kallsyms_addresses"); ok {
		return []layout{{form: absolute, table: at}}
	}
	at, ok := info.Symbol("kallsyms_offsets")
	if !ok {
		return nil
	}
	if base, ok := info.Symbol("kallsyms_relative_base"); ok {
		return []layout{{form: percpuRelative, table: at, base: base}, {form: baseRelative, table: at, base: base}}
	}
	return []layout{{form: placeRelative, table: at}}
}

// load reads the parts from their addresses. The names end before the token
// table, in the order before 6.4 as in that since.
func (t *tables) load(mem Memory, num, names, table, index uint64) error {
	var buf [4]byte
	if _, err := mem.Read(buf[:], num); err != nil {
		return fmt.Errorf("kallsyms_num_syms: %w", err)
	}
	count := binary.LittleEndian.Uint32(buf[:])
	if count == 0 || count > maxSymbols {
		return damaged("kallsyms_num_syms is %d", count)
	}
	t.count = int(count)
	if table <= names || table-names > maxNames {
		return damaged("kallsyms_names at %#x is not before kallsyms_token_table at %#x", names, table)
	}
	var err error
	if t.stream, err = readAll(mem, names, table-names); err != nil {
		return fmt.Errorf("kallsyms_names: %w", err)
	}
	if index <= table || index-table > maxTokens+8 {
		return damaged("kallsyms_token_table at %#x is not before kallsyms_token_index at %#x", table, index)
	}
	text, err := readAll(mem, table, index-table)
	if err != nil {
		return fmt.Errorf("kallsyms_token_table: %w", err)
	}
	places, err := readAll(mem, index, 2*tokenCount)
	if err != nil {
		return fmt.Errorf("kallsyms_token_index: %w", err)
	}
	return t.tokens.parse(text, places)
}

// readAll reads size bytes. It takes memory only as they turn out to be there.
func readAll(mem Memory, addr, size uint64) ([]byte, error) {
	const step = 1 << 20
	buf := make([]byte, 0, min(size, step))
	for done := uint64(0); done < size; done = uint64(len(buf)) {
		n := min(step, size-done)
		buf = append(buf, make([]byte, n)...)
		if _, err := mem.Read(buf[done:], addr+done); err != nil {
			return nil, err
		}
	}
	return buf, nil
}
