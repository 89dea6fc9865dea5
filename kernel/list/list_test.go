package list_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/kernel/list"
)

// words is a memory of 8-byte words.
type words map[uint64]uint64

var errHole = errors.New("no such word")

func (w words) Peek(virt uint64, buf []byte) ([]byte, error) {
	for i := 0; i < len(buf); i += 8 {
		v, ok := w[virt+uint64(i)]
		if !ok {
			return nil, errHole
		}
		binary.LittleEndian.PutUint64(buf[i:], v)
	}
	return buf, nil
}

// circular links the nodes behind head as list_add_tail does.
func circular(head uint64, nodes ...uint64) words {
	w := words{}
	all := append([]uint64{head}, nodes...)
	for i, n := range all {
		next := all[(i+1)%len(all)]
		w[n] = next
		w[next+8] = n
	}
	return w
}

// hlist links the nodes behind head; lock is or-ed to the head.
func hlist(head, lock uint64, nodes ...uint64) words {
	w := words{head: lock}
	slot := head
	for _, n := range nodes {
		w[slot] = n | w[slot]
		w[n], w[n+8] = 0, slot
		slot = n
	}
	return w
}

func collect(seq func(yield func(uint64, error) bool)) (nodes []uint64, err error) {
	for n, e := range seq {
		if e != nil {
			return nodes, e
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

var nodes = []uint64{0x1000, 0x3000, 0x2000, 0x5000}

func TestWholeLists(t *testing.T) {
	for name, seq := range map[string]func(func(uint64, error) bool){
		"circular": list.Circular(circular(0x100, nodes...), 0x100, 4),
		"hlist":    list.Hlist(hlist(0x100, 0, nodes...), 0x100, 4),
		"hlist_bl": list.HlistBL(hlist(0x100, 1, nodes...), 0x100, 4),
	} {
		got, err := collect(seq)
		if err != nil || !slices.Equal(got, nodes) {
			t.Errorf("%s: %#x, %v; want %#x", name, got, err, nodes)
		}
	}
	if got, err := collect(list.Circular(circular(0x100), 0x100, 4)); len(got) != 0 || err != nil {
		t.Errorf("an empty list: %#x, %v", got, err)
	}
}

// TestBreaks damages lists at a known place: what comes before it must be
// yielded, and the error must name the place.
func TestBreaks(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(c, h words)
		before int
		at     uint64
		reason string
	}{
		{"a wild next", func(c, h words) { c[0x3000], h[0x3000] = 0xbad, 0xbad }, 2, 0xbad, "cannot be read"},
		{"poison", func(c, h words) { c[0x3000], h[0x3000] = 0xdead000000000100, 0xdead000000000100 }, 2, 0xdead000000000100, "poison"},
		{"a cycle", func(c, h words) { c[0x2000], h[0x2000] = 0x1000, 0x1000 }, 3, 0x1000, "instead of"},
		{"a self loop", func(c, h words) { c[0x3000], h[0x3000] = 0x3000, 0x3000 }, 2, 0x3000, "instead of"},
		{"a wrong back pointer", func(c, h words) { c[0x2008], h[0x2008] = 0x77, 0x77 }, 2, 0x2000, "instead of"},
	} {
		c, h := circular(0x100, nodes...), hlist(0x100, 0, nodes...)
		tc.damage(c, h)
		for kind, seq := range map[string]func(func(uint64, error) bool){
			"circular": list.Circular(c, 0x100, 100), "hlist": list.Hlist(h, 0x100, 100),
		} {
			got, err := collect(seq)
			var b *list.BreakError
			if !errors.As(err, &b) || b.At != tc.at || !strings.Contains(b.Reason, tc.reason) {
				t.Errorf("%s in %s: error %v; want one at %#x with %q", tc.name, kind, err, tc.at, tc.reason)
				continue
			}
			if b.Index != len(got) || !slices.Equal(got, nodes[:len(got)]) || len(got) < tc.before {
				t.Errorf("%s in %s: %#x before the break at %d; want %#x", tc.name, kind, got, b.Index, nodes[:tc.before])
			}
		}
	}
}

func TestLimit(t *testing.T) {
	for name, seq := range map[string]func(func(uint64, error) bool){
		"circular": list.Circular(circular(0x100, nodes...), 0x100, 3),
		"hlist":    list.Hlist(hlist(0x100, 0, nodes...), 0x100, 3),
	} {
		got, err := collect(seq)
		var b *list.BreakError
		if len(got) != 3 || !errors.As(err, &b) || b.Index != 3 {
			t.Errorf("%s with a limit of 3: %#x, %v", name, got, err)
		}
	}
}

// TestChangeUnderWay stops a list_add and a list_del between their stores
// (include/linux/list.h: the neighbours' back pointers are set first).
func TestChangeUnderWay(t *testing.T) {
	adding := circular(0x100, nodes...)
	adding[0x4000], adding[0x4008] = 0x2000, 0x3000 // new, between 0x3000 and 0x2000
	adding[0x2008] = 0x4000                         // next->prev = new; prev->next is still to come
	deleting := circular(0x100, nodes...)
	deleting[0x5008] = 0x3000 // next->prev = prev of 0x2000; prev->next is still to come
	for name, w := range map[string]words{"adding": adding} {
		got, err := collect(list.Circular(w, 0x100, 10))
		if err != nil || !slices.Equal(got, nodes) {
			t.Errorf("%s: %#x, %v; want %#x", name, got, err, nodes)
		}
	}
	// While 0x2000 is being deleted its neighbour points past it already, and
	// the entry is still on the way forward: that must not cost the rest.
	got, err := collect(list.Circular(deleting, 0x100, 10))
	if err != nil || !slices.Equal(got, nodes) {
		t.Errorf("deleting: %#x, %v; want %#x", got, err, nodes)
	}
}

func FuzzLists(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0, 2, 2})
	f.Fuzz(func(t *testing.T, links []byte) {
		w := words{}
		for i := range links {
			// A small universe of 16 nodes makes cycles and shared tails likely.
			w[uint64(i%32)*8] = uint64(links[i]%16) * 16
		}
		const limit = 1000
		for _, seq := range []func(func(uint64, error) bool){
			list.Circular(w, 0, limit), list.Hlist(w, 16, limit), list.HlistBL(w, 16, limit),
		} {
			n := 0
			for _, err := range seq {
				if n++; err != nil {
					break
				}
			}
			// 32 words make 31 nodes. One odd back pointer may lead into a
			// circle of nodes not passed before, which is walked once.
			if n > 32 {
				t.Fatalf("%d steps in a list of at most 31 nodes", n)
			}
		}
	})
}

func ExampleCircular() {
	memory := circular(0x100, 0x1000, 0x2000) // in earnest: a *kernel.Kernel
	for node, err := range list.Circular(memory, 0x100, 1000) {
		fmt.Printf("%#x %v\n", node, err)
	}
	// Output:
	// 0x1000 <nil>
	// 0x2000 <nil>
}

func ExampleHlist() {
	memory := hlist(0x100, 0, 0x1000, 0x2000) // in earnest: a *kernel.Kernel
	memory[0x2008] = 0x3000                   // torn: the second entry belongs to another chain
	for node, err := range list.Hlist(memory, 0x100, 1000) {
		var torn *list.BreakError
		if errors.As(err, &torn) {
			fmt.Printf("torn at %#x, its entry %d\n", torn.At, torn.Index)
			break
		}
		fmt.Printf("%#x\n", node)
	}
	// Output:
	// 0x1000
	// torn at 0x2000, its entry 1
}

// The lowest bit of the head is a lock, which somebody holds.
func ExampleHlistBL() {
	memory := hlist(0x100, 1, 0x1000, 0x2000) // in earnest: a *kernel.Kernel
	for node, err := range list.HlistBL(memory, 0x100, 1000) {
		fmt.Printf("%#x %v\n", node, err)
	}
	// Output:
	// 0x1000 <nil>
	// 0x2000 <nil>
}
