package indump

import "fmt"

// ORC is the kernel image's unwind data (CONFIG_UNWINDER_ORC, x86-64 since
// 4.14; arch/x86/include/asm/orc_types.h), as it lies in memory. It was sorted
// when the kernel was built (since 5.6) or when it booted.
type ORC struct {
	// IPAddr is the runtime address of the first number in IP. Each is 32
	// bits, signed: the distance of an instruction from the number's own place.
	IPAddr uint64
	IP     []byte
	// Entries has a struct orc_entry of 6 bytes for each number.
	Entries []byte
}

const orcEntrySize = 6

// ORC reads the kernel image's unwind data. The error wraps
// debuginfo.ErrNotFound for a kernel that has none.
func (s *Source) ORC() (*ORC, error) {
	ip, err := s.between("__start_orc_unwind_ip", "__stop_orc_unwind_ip", maxORC)
	if err != nil {
		return nil, fmt.Errorf("ORC unwind data: %w", err)
	}
	entries, err := s.between("__start_orc_unwind", "__stop_orc_unwind", maxORC)
	if err != nil {
		return nil, fmt.Errorf("ORC unwind data: %w", err)
	}
	if len(ip)/4 != len(entries)/orcEntrySize || len(ip) == 0 {
		return nil, fmt.Errorf("ORC unwind data: %d addresses and %d entries", len(ip)/4, len(entries)/orcEntrySize)
	}
	sym, _ := s.symbols.Lookup("__start_orc_unwind_ip")
	return &ORC{IPAddr: s.mem.Runtime(sym.Addr), IP: ip, Entries: entries}, nil
}
