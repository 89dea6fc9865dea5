package kallsyms

import "github.com/kmortem/mortem/kernel/debuginfo"

// Kind tells what the letter says that the kernel keeps with a symbol, which is
// that of nm: upper case for global symbols, and W or w for weak functions, V
// or v for weak variables. Per-CPU variables of x86-64 have A (from 3.14 to
// 6.14).
func Kind(letter byte) (kind debuginfo.SymbolKind, global bool) {
	global = letter >= 'A' && letter <= 'Z'
	switch letter | 0x20 {
	case 't', 'w':
		kind = debuginfo.SymbolText
	case 'd', 'b', 'r', 'g', 's', 'v':
		kind = debuginfo.SymbolData
	case 'a':
		kind = debuginfo.SymbolAbsolute
	}
	return kind, global
}
