package hashtable_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/hashtable"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/list"
)

// plot is memory that tests plant tables in: some pages of the direct mapping.
type plot struct {
	*kerneltest.Overlay
	base uint64
}

const (
	plotPages = 64
	buckets   = 64
	nodeSize  = 64
)

func newPlot(t testing.TB) plot {
	t.Helper()
	k := kerneltest.MainFS(t).Kernel()
	p := plot{kerneltest.OverlayOn(t, k), direct(t, k)}
	p.Write(p.base, make([]byte, plotPages*4096))
	return p
}

// direct is an address in the direct mapping.
func direct(t testing.TB, k *kernel.Kernel) uint64 {
	t.Helper()
	root, err := k.Symbol("page_offset_base")
	if err != nil {
		t.Fatal(err)
	}
	base, err := k.Uint64(root)
	if err != nil {
		t.Fatal(err)
	}
	return base + 64<<20
}

// node is where the n-th entry's link lies, behind the table.
func (p plot) node(n int) uint64 { return p.base + 4096 + uint64(n)*nodeSize }

// form is how a kind of table is planted.
type form struct {
	kind   hashtable.Kind
	expr   string // of the type of a pointer to a bucket
	link   func(p plot, head uint64, bucket int, nodes []uint64)
	checks bool // its links point back
}

func hlist(end func(bucket int) uint64, lock uint64) func(p plot, head uint64, bucket int, nodes []uint64) {
	return func(p plot, head uint64, bucket int, nodes []uint64) {
		slot, set := head, lock
		for _, n := range nodes {
			p.PutUint64(slot, n|set)
			p.PutUint64(n+8, slot)
			slot, set = n, 0
		}
		p.PutUint64(slot, end(bucket)|set)
	}
}

func circle(p plot, head uint64, _ int, nodes []uint64) {
	prev := head
	for _, n := range nodes {
		p.PutUint64(prev, n)
		p.PutUint64(n+8, prev)
		prev = n
	}
	p.PutUint64(prev, head)
	p.PutUint64(head+8, prev)
}

func null(int) uint64          { return 0 }
func marker(bucket int) uint64 { return uint64(bucket+29)<<1 | 1 }

var forms = []form{
	{hashtable.Hlist, "struct hlist_head", hlist(null, 0), true},
	{hashtable.HlistBL, "struct hlist_bl_head", hlist(null, 1), true},
	{hashtable.Nulls, "struct hlist_nulls_head", hlist(marker, 0), true},
	{hashtable.List, "struct list_head", circle, true},
}

// plant plants a table whose bucket i has lengths[i] entries, and returns them.
func (p plot) plant(f form, stride uint64, lengths []int) [][]uint64 {
	var all [][]uint64
	n := 0
	for bucket, length := range lengths {
		var nodes []uint64
		for range length {
			nodes = append(nodes, p.node(n))
			n++
		}
		f.link(p, p.base+uint64(bucket)*stride, bucket, nodes)
		all = append(all, nodes)
	}
	return all
}

func someLengths(r *rand.Rand) []int {
	lengths := make([]int, buckets)
	for range 100 {
		lengths[r.IntN(buckets)]++
	}
	lengths[7], lengths[8] = 40, 0
	return lengths
}

func stride(f form) uint64 {
	if f.kind == hashtable.List {
		return 16
	}
	return 8
}

func open(t testing.TB, k *kernel.Kernel, text string, opt hashtable.Options) *hashtable.Table {
	t.Helper()
	tables, err := hashtable.Expr(k, text, opt)
	if err != nil || len(tables) != 1 {
		t.Fatalf("%s: %d tables, %v", text, len(tables), err)
	}
	return tables[0]
}

// walk returns the lengths of all chains, and the errors by bucket.
func walk(table *hashtable.Table) (lengths []int, broken map[uint64]error) {
	lengths = make([]int, table.Buckets)
	broken = map[uint64]error{}
	for c, err := range table.Chains(0, table.Buckets) {
		lengths[c.Bucket] = c.Length
		if err != nil {
			broken[c.Bucket] = err
		}
	}
	return lengths, broken
}

// TestPlanted: chains of every kind have the lengths and entries that were planted.
func TestPlanted(t *testing.T) {
	for _, f := range forms {
		p := newPlot(t)
		want := someLengths(rand.New(rand.NewPCG(1, 2)))
		nodes := p.plant(f, stride(f), want)
		table := open(t, p.Open(), fmt.Sprintf("(%s *)%#x", f.expr, p.base), hashtable.Options{Buckets: buckets})
		if table.Head.Kind != f.kind || table.Stride != stride(f) {
			t.Errorf("%s: taken for %+v", f.kind, table)
		}
		got, broken := walk(table)
		if fmt.Sprint(got) != fmt.Sprint(want) || len(broken) != 0 {
			t.Errorf("%s: %v, planted %v; %v", f.kind, got, want, broken)
		}
		i := 0
		for entry, err := range table.Entries(7) {
			if err != nil || entry != nodes[7][i] {
				t.Errorf("%s: entry %d is %#x, %v; planted %#x", f.kind, i, entry, err, nodes[7][i])
			}
			i++
		}
		if i != 40 {
			t.Errorf("%s: %d entries, planted 40", f.kind, i)
		}
	}
}

// TestBroken: a chain that was torn is counted up to there, and the others are
// whole.
func TestBroken(t *testing.T) {
	for _, f := range forms {
		for name, hurt := range map[string]func(p plot, nodes [][]uint64){
			"a circle":            func(p plot, nodes [][]uint64) { p.PutUint64(nodes[7][19], nodes[7][3]) },
			"a wild pointer":      func(p plot, nodes [][]uint64) { p.PutUint64(nodes[7][19], 0xdead000000000100) },
			"another chain":       func(p plot, nodes [][]uint64) { p.PutUint64(nodes[7][19], nodes[11][0]) },
			"an excluded page":    func(p plot, nodes [][]uint64) { p.PutUint64(nodes[7][19], p.base+(plotPages-1)*4096) },
			"a pointer to itself": func(p plot, nodes [][]uint64) { p.PutUint64(nodes[7][19], nodes[7][19]) },
		} {
			p := newPlot(t)
			want := someLengths(rand.New(rand.NewPCG(3, 4)))
			want[11] = 5
			nodes := p.plant(f, stride(f), want)
			hurt(p, nodes)
			p.Exclude(p.base + (plotPages-1)*4096)
			got, broken := walk(open(t, p.Open(), fmt.Sprintf("(%s *)%#x", f.expr, p.base), hashtable.Options{Buckets: buckets}))
			want[7] = 20
			var at *list.BreakError
			if fmt.Sprint(got) != fmt.Sprint(want) || len(broken) != 1 || !errors.As(broken[7], &at) || at.Index != 20 {
				t.Errorf("%s, %s: %v, planted %v; %v", f.kind, name, got, want, broken)
			}
			if name == "an excluded page" && !errors.Is(broken[7], dump.ErrExcluded) {
				t.Errorf("%s, %s: %v", f.kind, name, broken[7])
			}
		}
	}
}

// TestLostHeads: where a page of the table is missing, its buckets are told one by
// one, and the others are counted.
func TestLostHeads(t *testing.T) {
	p := newPlot(t)
	const n = 1024 // two pages
	p.base += 8 * 4096
	table := p.base - 2*4096
	for i := range n / 2 {
		forms[0].link(p, table+uint64(8*i), i, []uint64{p.node(i)}[:i%2])
	}
	p.Exclude(table + 4096)
	got, broken := walk(open(t, p.Open(), fmt.Sprintf("(struct hlist_head *)%#x", table), hashtable.Options{Buckets: n}))
	if len(broken) != n/2 || got[1] != 1 || !errors.Is(broken[n-1], dump.ErrExcluded) {
		t.Errorf("%d buckets are lost, %v", len(broken), broken[n-1])
	}
}

// TestEndOfAnother: a chain of hlist_nulls that ends as another one leads there.
func TestEndOfAnother(t *testing.T) {
	p := newPlot(t)
	lengths := someLengths(rand.New(rand.NewPCG(5, 6)))
	nodes := p.plant(forms[2], 8, lengths)
	p.PutUint64(nodes[7][39], marker(12))
	_, broken := walk(open(t, p.Open(), fmt.Sprintf("(struct hlist_nulls_head *)%#x", p.base), hashtable.Options{Buckets: buckets}))
	if len(broken) != 1 || broken[7] == nil || !strings.Contains(broken[7].Error(), "bucket 12") {
		t.Errorf("%v", broken)
	}
}

// TestBarePointers: chains of bare pointers go by a member of the entries; a circle
// in them ends.
func TestBarePointers(t *testing.T) {
	p := newPlot(t)
	const next = 0 // struct neighbour.next is its first member
	for bucket := range 8 {
		slot := p.base + uint64(8*bucket)
		for i := range bucket * 3 {
			p.PutUint64(slot, p.node(10*bucket*3+i)+next)
			slot = p.node(10*bucket*3+i) + next
		}
	}
	text := fmt.Sprintf("(struct neighbour **)%#x", p.base)
	got, broken := walk(open(t, p.Open(), text, hashtable.Options{Buckets: 8}))
	if fmt.Sprint(got) != "[0 3 6 9 12 15 18 21]" || len(broken) != 0 {
		t.Errorf("%v; %v", got, broken)
	}
	p.PutUint64(p.node(10*7*3+20), p.node(10*7*3+5))
	if got, broken = walk(open(t, p.Open(), text, hashtable.Options{Buckets: 8})); len(broken) != 1 || got[7] < 21 || got[7] > 64 {
		t.Errorf("%v; %v", got, broken)
	}
}

// TestNested: a resizable table that lies in a tree of pages.
func TestNested(t *testing.T) {
	p := newPlot(t)
	k := kerneltest.MainFS(t).Kernel()
	field := func(typ, path string) uint64 {
		ct, err := k.Type(typ)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ct.Field(path)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(f.Offset)
	}
	ht, tbl := p.base, p.base+1024
	put32 := func(at uint64, v byte) { p.Write(at, []byte{v}) }
	p.PutUint64(ht+field("struct rhashtable", "tbl"), tbl)
	put32(ht+field("struct rhashtable", "nelems.counter"), 7)
	put32(ht+field("struct rhashtable", "p.head_offset"), 16)
	p.Write(tbl+field("struct bucket_table", "size"), []byte{0, 8, 0, 0}) // 2,048 buckets
	p.Write(tbl+field("struct bucket_table", "nest"), []byte{2})          // four pages of 512
	root := p.base + 4096
	p.PutUint64(tbl+field("struct bucket_table", "buckets"), root)
	for i := range uint64(3) { // the fourth is not there yet
		p.PutUint64(root+8*i, root+4096*(1+i))
	}
	at := root + 6*4096
	for i, bucket := range []uint64{0, 511, 512, 1000, 1535, 1000, 1000} {
		node := at + uint64(64*i)
		head := root + 4096 + 8*bucket
		first := uint64(0)
		if bucket == 1000 && i > 3 {
			first = at + uint64(64*(i-1))
			if i == 5 {
				first = at + 3*64
			}
		}
		if first == 0 {
			first = head | 1 // the end says where it began
		}
		p.PutUint64(node, first)
		p.PutUint64(head, node|1) // locked
	}
	table := open(t, p.Open(), fmt.Sprintf("(struct rhashtable *)%#x", ht), hashtable.Options{})
	got, broken := walk(table)
	sum := 0
	for _, n := range got {
		sum += n
	}
	if table.Buckets != 2048 || sum != 7 || got[1000] != 3 || got[511] != 1 || got[1535] != 1 || len(broken) != 0 || table.Counter == nil || *table.Counter != 7 {
		t.Errorf("%d entries in %d buckets, %d in one; %v", sum, table.Buckets, got[1000], broken)
	}
	for entry := range table.Entries(512) {
		if entry != at+2*64-16 {
			t.Errorf("%#x", entry)
		}
	}
}

// FuzzTable: whatever the memory of a table holds, its walk ends.
func FuzzTable(f *testing.F) {
	for i := range byte(6) {
		f.Add(i, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	}
	types := []string{"struct hlist_head *", "struct hlist_bl_head *", "struct hlist_nulls_head *", "struct list_head *", "struct neighbour **", "struct rhashtable *"}
	below := kerneltest.MainFS(f).Kernel()
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		p := plot{kerneltest.OverlayOn(t, below), direct(t, below)}
		p.Write(p.base, make([]byte, 2*4096))
		for i := 0; i+2 < len(data) && i < 3*1000; i += 3 {
			// Mostly pointers into the memory, so that there are chains.
			v := p.base + uint64(data[i+1])<<4&0xff0 + uint64(data[i+2]&9)
			if data[i]&0x80 != 0 {
				v = uint64(data[i+1])
			}
			p.PutUint64(p.base+uint64(data[i]&0x7f)*16+uint64(data[i+2]&2)*4, v)
		}
		text := fmt.Sprintf("(%s)%#x", types[int(kind)%len(types)], p.base)
		tables, _ := hashtable.Expr(p.Open(), text, hashtable.Options{Buckets: 128})
		for _, table := range tables {
			n := 0
			for c := range table.Chains(0, min(table.Buckets, 1<<16)) {
				if n++; n > 1<<16 || c.Length > 1<<20 {
					t.Fatal("the walk finds more than there is")
				}
			}
		}
	})
}
