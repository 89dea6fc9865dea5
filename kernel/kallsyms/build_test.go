package kallsyms

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/dump"
)

// flat is memory in one piece.
type flat struct {
	base uint64
	data []byte
}

var errHole = errors.New("nothing there")

func (m *flat) Read(buf []byte, virt uint64) (int, error) {
	off := virt - m.base
	if off >= uint64(len(m.data)) {
		return 0, errHole
	}
	n := copy(buf, m.data[off:])
	if n < len(buf) {
		return n, errHole
	}
	return n, nil
}

// era is how one range of kernel releases lays out its tables.
type era struct {
	name   string
	form   form
	wide   bool // kallsyms_num_syms and kallsyms_markers have 64 bits
	seqs   int  // bytes of an entry of kallsyms_seqs_of_names
	big    bool // names of more than 127 bytes
	behind bool // the addresses are behind the token index
}

var eras = []era{
	{name: "2.6.32", form: absolute, wide: true},
	{name: "4.6", form: percpuRelative, wide: true},
	{name: "4.20", form: percpuRelative},
	{name: "6.0 uniprocessor", form: baseRelative},
	{name: "6.2", form: percpuRelative, seqs: 3, big: true},
	{name: "6.4", form: percpuRelative, seqs: 3, big: true, behind: true},
	{name: "6.15", form: baseRelative, seqs: 3, big: true, behind: true},
	{name: "7.0", form: placeRelative, seqs: 4, big: true, behind: true},
}

// sym is a symbol as the kernel's build sees it, its letter before the name.
type sym struct {
	name string
	addr uint64
}

const (
	testStext = 0xffffffff9be00000
	testRO    = testStext + 3*chunk - 200 // so that tables lie across chunks
)

// someSymbols are symbols to be put into tables, by address.
func someSymbols(e era) []sym {
	var list []sym
	if e.form == absolute || e.form == percpuRelative {
		list = append(list, sym{"Afixed_percpu_data", 0}, sym{"Acpu_number", 0x1c070})
	}
	list = append(list, sym{"T_text", testStext}, sym{"T_stext", testStext})
	for i := range 900 {
		list = append(list, sym{fmt.Sprintf("tdo_%d_work_item_%c", i*7919, 'a'+i%26), testStext + 0x1000 + uint64(i)*0x40})
	}
	if e.big {
		list = append(list, sym{"t" + strings.Repeat("QxZ", 150), testStext + 0x20000})
	}
	return append(list, sym{"Dinit_task", testStext + 0x400000}, sym{"D__start_init_task", testStext + 0x400000},
		sym{"B_end", testStext + 0x900000})
}

// image is memory with the tables of the symbols, and what VMCOREINFO says.
func image(e era, list []sym) (mem *flat, told, old *dump.VMCoreInfo) {
	b := builder{at: testRO, where: map[string]uint64{}}
	b.data = make([]byte, testRO-testStext)
	if !e.behind {
		b.addresses(e, list)
	}
	b.names(e, list)
	b.tokens()
	if e.behind {
		b.addresses(e, list)
	}
	b.data = append(b.data, make([]byte, 128)...)
	text := fmt.Sprintf("SYMBOL(_stext)=%x\n", uint64(testStext))
	old = dump.ParseVMCoreInfo([]byte(text))
	for name, at := range b.where {
		text += fmt.Sprintf("SYMBOL(%s)=%x\n", name, at)
	}
	return &flat{testStext, b.data}, dump.ParseVMCoreInfo([]byte(text)), old
}

type builder struct {
	at    uint64
	data  []byte
	where map[string]uint64
}

func (b *builder) label(name string) {
	for len(b.data)%8 != 0 {
		b.data = append(b.data, 0)
	}
	b.where[name] = testStext + uint64(len(b.data))
}

func (b *builder) number(v uint64, width int) {
	b.data = append(b.data, binary.LittleEndian.AppendUint64(nil, v)[:width]...)
}

func (b *builder) addresses(e era, list []sym) {
	if e.form == absolute {
		b.label("kallsyms_addresses")
	} else {
		b.label("kallsyms_offsets")
	}
	base := uint64(testStext)
	for _, s := range list {
		switch {
		case e.form == absolute:
			b.number(s.addr, 8)
		case e.form == placeRelative:
			b.number(s.addr-(testStext+uint64(len(b.data))), 4)
		case e.form == baseRelative || s.addr < lowest:
			b.number(s.addr-base*(s.addr>>63), 4)
		default:
			b.number(base-s.addr-1, 4)
		}
	}
	if e.form == percpuRelative || e.form == baseRelative {
		b.label("kallsyms_relative_base")
		b.number(base, 8)
	}
}

// testTokens are the codes that the names' plain characters leave free.
var testTokens = []string{"", "do_", "work", "_item", "tdo_"}

func (b *builder) names(e era, list []sym) {
	width := 4
	if e.wide {
		width = 8
	}
	b.label("kallsyms_num_syms")
	b.number(uint64(len(list)), width)
	b.label("kallsyms_names")
	start := len(b.data)
	var marks []int
	for i, s := range list {
		if i%256 == 0 {
			marks = append(marks, len(b.data)-start)
		}
		codes := compress(s.name)
		if len(codes) > 0x7f {
			b.data = append(b.data, byte(len(codes)|0x80), byte(len(codes)>>7))
		} else {
			b.data = append(b.data, byte(len(codes)))
		}
		b.data = append(b.data, codes...)
	}
	b.label("kallsyms_markers")
	for _, m := range marks {
		b.number(uint64(m), width)
	}
	if e.seqs > 0 {
		b.label("kallsyms_seqs_of_names")
		for i := range list {
			b.number(uint64(i), e.seqs)
		}
	}
}

func compress(name string) (codes []byte) {
	for name != "" {
		code, n := name[0], 1
		for i, t := range testTokens {
			if len(t) > n && strings.HasPrefix(name, t) {
				code, n = byte(i), len(t)
			}
		}
		codes, name = append(codes, code), name[n:]
	}
	return codes
}

func (b *builder) tokens() {
	b.label("kallsyms_token_table")
	start, places := len(b.data), []uint64(nil)
	for c := range tokenCount {
		places = append(places, uint64(len(b.data)-start))
		switch {
		case c < len(testTokens):
			b.data = append(b.data, testTokens[c]...)
		case c >= '0' && c <= 'z':
			b.data = append(b.data, byte(c))
		}
		b.data = append(b.data, 0)
	}
	b.label("kallsyms_token_index")
	for _, p := range places {
		b.number(p, 2)
	}
}

// plain is what Read should make of the symbols: by address, and of those at
// one address the kernel's first choice last.
func plain(list []sym) (names []string) {
	for _, s := range list {
		names = append(names, fmt.Sprintf("%#x %s", s.addr, s.name[1:]))
	}
	slices.Sort(names)
	return names
}
