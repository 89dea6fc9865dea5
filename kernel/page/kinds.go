package page

import (
	"math/bits"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/ctype"
)

// kinds is how the kernel marks what a page is used for: by its flags (enum
// pageflags, include/linux/page-flags.h) and by page_type, which shares its place
// with _mapcount:
//   - until 2.6.37 flags only.
//   - since 2.6.38 a free page has _mapcount -2, soon -128.
//   - since 4.18 page_type has all bits set but one for each property.
//   - since 6.10 PG_slab is such a property; in 6.11 enum pagetype has them.
//   - since 6.12 the highest byte of page_type is one of enum pagetype's PGTY_.
type kinds struct {
	slab, buddy        test
	types              []namedTest
	names              [64]string // of flags, by bit
	headMask, headWant uint64
	tailMask           uint64
	orderInFlags       bool
}

// test is whether flags, or page_type, have some bits.
type test struct {
	flags      uint64
	mask, want uint32
}

type namedTest struct {
	name string
	test
}

func (t *test) matches(flags uint64, typ uint32) bool {
	if t.flags != 0 {
		return flags&t.flags != 0
	}
	return t.mask != 0 && typ&t.mask == t.want
}

func (t *kinds) resolve(k *kernel.Kernel, l *pageLayout) error {
	flags, err := k.Type("enum pageflags")
	if err != nil {
		return err
	}
	known := make(map[string]uint64)
	for _, e := range flags.Enumerators() {
		if e.Value < 0 || e.Value > 63 || strings.HasPrefix(e.Name, "__") {
			continue
		}
		known[e.Name] = 1 << e.Value
		if t.names[e.Value] == "" {
			t.names[e.Value] = cstr.Show([]byte(strings.TrimPrefix(e.Name, "PG_")))
		}
	}
	t.compound(known)
	t.orderInFlags = !l.Order.Has() && k.HasField("struct folio", "_flags_1")
	t.pageTypes(k, l)
	t.slab = t.find(known, "slab")
	t.buddy = t.find(known, "buddy")
	return nil
}

// compound is how heads and tails are marked: PG_head and, until 4.3, PG_tail; or
// PG_compound, with PG_reclaim for tails, where page flags were scarce.
func (t *kinds) compound(known map[string]uint64) {
	t.headMask, t.headWant = known["PG_head"], known["PG_head"]
	t.tailMask = known["PG_tail"]
	if both := known["PG_compound"]; t.headMask == 0 && both != 0 {
		t.tailMask = both | known["PG_reclaim"]
		t.headMask, t.headWant = t.tailMask, both
	}
	if t.headMask == 0 {
		t.headWant = 1 // nothing is one
	}
}

// find is the test for a property that is a flag or a type.
func (t *kinds) find(known map[string]uint64, name string) test {
	if f := known["PG_"+name]; f != 0 {
		return test{flags: f}
	}
	for _, n := range t.types {
		if n.name == name {
			return n.test
		}
	}
	return test{}
}

// typeBase are bits that page_type always has set, so that a count is no type.
const (
	typeBase      = 0xf0000000 // 4.18 to 6.10
	typeBaseEnum  = 0x80000000 // 6.11
	pgtyShift     = 24         // since 6.12
	oldBuddyCount = 0xffffff80 // -128
)

func (t *kinds) pageTypes(k *kernel.Kernel, l *pageLayout) {
	enum, err := k.Type("enum pagetype")
	if err == nil {
		for _, e := range enum.Enumerators() {
			t.fromEnum(e)
		}
		return
	}
	t.fromNotes(k)
	if !l.TypeMember.Has() {
		t.addType("buddy", test{mask: ^uint32(0), want: oldBuddyCount})
		return
	}
	// The macros of the kernels in between are in no debug information.
	t.addType("buddy", cleared(typeBase, 0x80))
	t.addType("offline", cleared(typeBase, 0x100)) // since 5.0
	if k.HasField("struct page", "mem_cgroup") {   // until 5.10 there was PG_kmemcg, 0x200
		t.addType("table", cleared(typeBase, 0x400))
	} else {
		t.addType("table", cleared(typeBase, 0x200))
		t.addType("guard", cleared(typeBase, 0x400))
	}
	t.addType("slab", cleared(typeBase, 0x1000)) // 6.10
}

func cleared(base, bit uint32) test { return test{mask: base | bit, want: base} }

func (t *kinds) fromEnum(e ctype.Enumerator) {
	v := uint32(e.Value)
	if name, ok := strings.CutPrefix(e.Name, "PGTY_"); ok {
		if v <= 0xff && name != "mapcount_underflow" {
			t.addType(cstr.Show([]byte(name)), test{mask: 0xff << pgtyShift, want: v << pgtyShift})
		}
	} else if name, ok := strings.CutPrefix(e.Name, "PG_"); ok && bits.OnesCount32(v) == 1 {
		t.addType(cstr.Show([]byte(name)), cleared(typeBaseEnum, v))
	}
}

// fromNotes takes what VMCOREINFO says: the value of _mapcount or page_type.
func (t *kinds) fromNotes(k *kernel.Kernel) {
	vmci := k.Image().Facts().VMCoreInfo
	if vmci == nil {
		return
	}
	for _, name := range []string{"buddy", "offline", "slab", "hugetlb", "unaccepted"} {
		n, ok := vmci.Number("PAGE_" + strings.ToUpper(name) + "_MAPCOUNT_VALUE")
		if !ok {
			continue
		}
		v := uint32(n)
		if bit := ^v; bits.OnesCount32(bit) == 1 && k.HasField("struct page", "page_type") {
			t.addType(name, cleared(typeBase, bit))
			continue
		}
		t.addType(name, test{mask: ^uint32(0), want: v})
	}
}

// addType adds a type that is not yet known.
func (t *kinds) addType(name string, how test) {
	for _, n := range t.types {
		if n.name == name {
			return
		}
	}
	t.types = append(t.types, namedTest{name, how})
}

// Flag is the mask of a page flag such as "PG_reserved"; false where the kernel
// has none of that name.
func (m *Map) Flag(name string) (mask uint64, ok bool) {
	for bit, n := range m.kinds.names {
		if n != "" && "PG_"+n == name {
			return 1 << bit, true
		}
	}
	return 0, false
}

// FlagNames are the names of the flags that are set, by bit, without PG_.
func (m *Map) FlagNames(p *Page) []string {
	var names []string
	for bit, name := range m.kinds.names {
		if name != "" && p.Flags>>bit&1 != 0 {
			names = append(names, name)
		}
	}
	return names
}

// TypeName is what page_type, or a flag before there was that member, says the
// page is: "slab", "buddy", "table", "offline" and the like; "" for none. It is not
// meaningful for a tail page.
func (m *Map) TypeName(p *Page) string {
	switch {
	case p.Slab:
		return "slab"
	case p.Buddy:
		return "buddy"
	}
	for i := range m.kinds.types {
		if t := &m.kinds.types[i]; t.matches(p.Flags, p.Type) && t.name != "slab" {
			return t.name
		}
	}
	return ""
}

// IsSlab tells of the bytes of a struct page whether it is marked as a slab's, with
// less work than Decode. Tail pages may be marked as well.
func (m *Map) IsSlab(b []byte) bool {
	return m.kinds.slab.matches(m.layout.Flags.Get(b), m.layout.Type.Get(b))
}
