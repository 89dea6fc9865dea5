package hashtable

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
)

// bucketTable is struct bucket_table (include/linux/rhashtable.h, since 3.17).
// The buckets are pointers to struct rhash_head, and since 5.2 to struct
// rhash_lock_head, whose bit 0 is a lock. Since 4.11 a table for which no memory
// in one piece was to be had is nested: a tree of pages, of which nest bits of the
// hash choose the first.
type bucketTable struct {
	kernel.Layout `kernel:"struct bucket_table"`
	Size          kernel.Uint   `kernel:"size"`
	Nest          kernel.Uint   `kernel:"nest,optional"`
	Future        kernel.U64    `kernel:"future_tbl,optional"` // since 4.1
	Buckets       kernel.Offset `kernel:"buckets"`
}

// rhashtableLayout is struct rhashtable. The count of entries is nelems, an
// atomic_t.
type rhashtableLayout struct {
	kernel.Layout `kernel:"struct rhashtable"`
	Table         kernel.U64  `kernel:"tbl"`
	Elements      kernel.I32  `kernel:"nelems.counter,optional"`
	HeadOffset    kernel.Uint `kernel:"p.head_offset"`
}

func isResizable(t *ctype.Type) bool { return t.Name == "rhashtable" || t.Name == "rhltable" }

// maxResizes is how many tables follow each other while one is resized: one, as a
// rule, and more where memory was short.
const maxResizes = 8

// resizable makes the tables of a struct rhashtable, or of the one in a struct
// rhltable, where further entries of the same key hang on the first, beside the
// chain, and do not count.
func resizable(k *kernel.Kernel, name string, at uint64, t *ctype.Type, opt Options) ([]*Table, error) {
	var l rhashtableLayout
	var b bucketTable
	for _, layout := range []any{&l, &b} {
		if err := k.Resolve(layout); err != nil {
			return nil, err
		}
	}
	several := t.Name == "rhltable"
	if several {
		f, err := t.Field("ht")
		if err != nil {
			return nil, err
		}
		at += uint64(f.Offset)
	}
	object, err := k.Peek(at, make([]byte, l.Span()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var tables []*Table
	next := l.Table.Get(object)
	if next == 0 {
		return nil, fmt.Errorf("%s.tbl is NULL: the kernel did not set the table up", name)
	}
	for i := 0; next != 0 && i < maxResizes; i++ {
		table, err := k.Peek(next, make([]byte, b.Span()))
		if err != nil {
			return tables, fmt.Errorf("%s: struct bucket_table: %w", name, err)
		}
		one, err := bucketsOf(k, name, next, table, &b)
		if err != nil {
			return tables, err
		}
		one.link = l.HeadOffset.Get(object)
		if opt.Entry != "" {
			one.nameEntries(opt.Entry)
		}
		if tables = append(tables, one); !b.Future.Has() {
			break
		}
		next = b.Future.Get(table)
	}
	if l.Elements.Has() && !several && len(tables) == 1 {
		n := int64(l.Elements.Get(object))
		tables[0].Counter = &n
	}
	for i, t := range tables[1:] {
		t.Name = fmt.Sprintf("%s (being filled, %d)", name, i+1)
	}
	return tables, nil
}

// bucketsOf makes the table of one struct bucket_table.
func bucketsOf(k *kernel.Kernel, name string, at uint64, table []byte, b *bucketTable) (*Table, error) {
	t := &Table{Name: name, Expr: name, Addr: at + b.Buckets.Offset(), Buckets: b.Size.Get(table), Stride: 8,
		Head: Head{Kind: Rhash}, k: k, maximum: int(k.Image().Facts().MaxPhys/16) + 1}
	if k.HasType("struct rhash_lock_head") {
		t.Head.lock = 3
	}
	if t.Buckets == 0 || t.Buckets > maxBuckets || t.Buckets&(t.Buckets-1) != 0 {
		return nil, fmt.Errorf("%s: struct bucket_table at %#x: %d buckets cannot be", name, at, t.Buckets)
	}
	nest := uint64(0)
	if b.Nest.Has() {
		nest = b.Nest.Get(table)
	}
	if nest == 0 {
		return t, nil
	}
	if nest > 32 || t.Buckets>>nest == 0 {
		return nil, fmt.Errorf("%s: struct bucket_table at %#x: %d buckets nested by %d bits cannot be", name, at, t.Buckets, nest)
	}
	root, err := k.Uint64(t.Addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, t.nested(root, 1<<nest, t.Buckets>>nest)
}

// perPage is how many pointers a page of a nested table has.
const perPage = 4096 / 8

// nested collects the pages of a nested table: width pointers, to tables of size
// buckets each. The numbers of the buckets are in the order of the pages here, and
// not those of the hash.
func (t *Table) nested(at, width, size uint64) error {
	if at == 0 {
		t.addPart(0, width*size)
		return nil
	}
	pointers := make([]byte, 8*min(width, perPage))
	if _, err := t.k.Read(pointers, at); err != nil {
		return fmt.Errorf("%s: nested table: %w", t.Name, err)
	}
	for i := 0; i < len(pointers); i += 8 {
		below := binary.LittleEndian.Uint64(pointers[i:])
		if below != 0 && size > perPage {
			if err := t.nested(below, perPage, size/perPage); err != nil {
				return err
			}
			continue
		}
		if len(t.parts) == maxParts {
			return fmt.Errorf("%s: a nested table of more than %d pages cannot be", t.Name, maxParts)
		}
		t.addPart(below, size)
	}
	return nil
}

// maxParts bounds the pages of a nested table, which is a makeshift for a while.
const maxParts = 1 << 16

func (t *Table) addPart(at, buckets uint64) {
	p := part{addr: at, count: buckets}
	if n := len(t.parts); n > 0 {
		p.first = t.parts[n-1].first + t.parts[n-1].count
	}
	t.parts = append(t.parts, p)
}
