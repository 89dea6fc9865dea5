package rbtree_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel/rbtree"
)

// memory is a few words by address.
type memory map[uint64]uint64

func (m memory) Peek(virt uint64, buf []byte) ([]byte, error) {
	for i := 0; i < len(buf); i += 8 {
		v, ok := m[virt+uint64(i)]
		if !ok {
			return nil, errors.New("not there")
		}
		binary.LittleEndian.PutUint64(buf[i:], v)
	}
	return buf, nil
}

func (m memory) put(at, parent, left, right uint64) {
	m[at], m[at+8], m[at+16] = parent|1, right, left
}

// tree has 0x1000 at 8 and, in order, 0x100 to 0x500.
func tree() memory {
	m := memory{8: 0x300}
	m.put(0x300, 0, 0x100, 0x400)
	m.put(0x100, 0x300, 0, 0x200)
	m.put(0x200, 0x100, 0, 0)
	m.put(0x400, 0x300, 0, 0x500)
	m.put(0x500, 0x400, 0, 0)
	return m
}

func nodes(m memory, limit int) (list []uint64, errs int) {
	for at, err := range rbtree.Nodes(m, 8, limit) {
		if err != nil {
			errs++
			continue
		}
		list = append(list, at)
	}
	return list, errs
}

func TestNodes(t *testing.T) {
	if got, errs := nodes(tree(), 100); errs != 0 || !slices.Equal(got, []uint64{0x100, 0x200, 0x300, 0x400, 0x500}) {
		t.Errorf("%#x, %d errors", got, errs)
	}
	if got, errs := nodes(memory{8: 0}, 100); len(got)+errs != 0 {
		t.Errorf("an empty tree has %#x, %d errors", got, errs)
	}
	// A walk can end early.
	for at := range rbtree.Nodes(tree(), 8, 100) {
		if at != 0x100 {
			t.Errorf("%#x comes first", at)
		}
		break
	}
}

// A branch that leads back up, or nowhere, ends there; the rest is found.
func TestBreaks(t *testing.T) {
	m := tree()
	m[0x200+16] = 0x300 // its left child is its grandparent
	if got, errs := nodes(m, 100); errs != 1 || len(got) != 5 {
		t.Errorf("circle: %#x, %d errors", got, errs)
	}
	m = tree()
	m[0x400+8] = 0x900
	if got, errs := nodes(m, 100); errs != 1 || len(got) != 4 {
		t.Errorf("wild pointer: %#x, %d errors", got, errs)
	}
	if got, errs := nodes(tree(), 3); errs != 1 || len(got) > 3 {
		t.Errorf("limit: %#x, %d errors", got, errs)
	}
	if _, errs := nodes(memory{}, 3); errs != 1 {
		t.Errorf("no root: %d errors", errs)
	}
}

func ExampleNodes() {
	for at, err := range rbtree.Nodes(tree(), 8, 100) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%#x ", at)
	}
	// Output: 0x100 0x200 0x300 0x400 0x500
}
