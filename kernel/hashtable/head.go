package hashtable

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
)

// Kind is the form of a chain: of its head and of the links in its entries.
type Kind string

// The kinds of chains. The names are those of the heads' C types, which have kept
// their form in all releases (include/linux/types.h, list_bl.h, list_nulls.h,
// rhashtable-types.h).
const (
	Hlist   Kind = "hlist_head"       // ends at NULL
	HlistBL Kind = "hlist_bl_head"    // bit 0 of the head is a lock; since 2.6.38
	Nulls   Kind = "hlist_nulls_head" // ends at an odd number that tells the chain; since 2.6.29
	List    Kind = "list_head"        // goes round to the head
	Rhash   Kind = "rhash_head"       // singly linked, ends at an odd number; bit 0 of the head is a lock since 5.2; since 3.17
	Pointer Kind = "pointer"          // singly linked by a member of the entries
)

// Head is where in a bucket the head of the chain is, and of what kind.
type Head struct {
	Kind   Kind
	Offset uint64 // bytes from the start of the bucket
	Path   string // the member's path, empty where the bucket is the head
	Next   uint64 // Pointer: offset of the link in an entry
	lock   uint64 // bits of the head that are no pointer
}

// ErrNoHead: a type is no head of a chain, and has none in it.
var ErrNoHead = errors.New("it is no head of a list, and has none in it")

// headOf finds the head in a bucket's type: at a path, or the first one that there
// is where the path is empty. link is the member that links entries whose bucket
// is a bare pointer; "next" where it is empty.
func headOf(k *kernel.Kernel, bucket *ctype.Type, path, link string) (Head, error) {
	if path != "" {
		var first error
		for _, one := range strings.Split(path, "|") {
			f, err := bucket.Field(one)
			if err != nil {
				first = errors.Join(first, err)
				continue
			}
			h, err := headOf(k, f.Type, "", link)
			if err != nil {
				return h, err
			}
			h.Offset += uint64(f.Offset)
			h.Path = joinPath(one, h.Path)
			return h, nil
		}
		return Head{}, first
	}
	if h, ok, err := plainHead(k, bucket, link); ok || err != nil {
		return h, err
	}
	return headInside(k, bucket, link, maxNesting)
}

func joinPath(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "." + b
}

// plainHead tells whether a type itself is a head.
func plainHead(k *kernel.Kernel, t *ctype.Type, link string) (h Head, ok bool, err error) {
	t = t.Strip()
	if t.Kind == ctype.Pointer {
		return pointerHead(t.Elem().Strip(), link)
	}
	switch t.Name {
	case "hlist_head":
		return Head{Kind: Hlist}, true, nil
	case "hlist_bl_head":
		return Head{Kind: HlistBL, lock: 1}, true, nil
	case "hlist_nulls_head":
		return Head{Kind: Nulls}, true, nil
	case "list_head":
		return Head{Kind: List}, true, nil
	case "rhash_lock_head": // since 5.2; the lock was bit 1 in its first weeks
		return Head{Kind: Rhash, lock: 3}, true, nil
	}
	return Head{}, false, nil
}

// pointerHead is a bucket that is a pointer to its first entry.
func pointerHead(entry *ctype.Type, link string) (h Head, ok bool, err error) {
	switch {
	case entry.Name == "rhash_head":
		return Head{Kind: Rhash}, true, nil
	case entry.Name == "rhash_lock_head":
		return Head{Kind: Rhash, lock: 3}, true, nil
	case !entry.IsRecord():
		return Head{}, false, nil
	}
	if link == "" {
		link = "next"
	}
	f, err := entry.Field(link)
	if err != nil {
		return Head{}, false, fmt.Errorf("the bucket points to a %s: what links one to the next is not known: %w", entry, err)
	}
	if f.Type.Strip().Kind != ctype.Pointer {
		return Head{}, false, fmt.Errorf("%s.%s is a %s and links nothing", entry, link, f.Type)
	}
	return Head{Kind: Pointer, Next: uint64(f.Offset)}, true, nil
}

// maxNesting bounds how deep in a bucket a head is looked for.
const maxNesting = 4

// headInside looks for the first head among the members of a bucket. Pointers do
// not count there: most lead elsewhere.
func headInside(k *kernel.Kernel, t *ctype.Type, link string, depth int) (Head, error) {
	t = t.Strip()
	if depth == 0 || t.Kind != ctype.Struct && t.Kind != ctype.Union {
		return Head{}, fmt.Errorf("%s: %w", t, ErrNoHead)
	}
	for _, m := range t.Members() {
		if m.Type.Strip().Kind == ctype.Pointer || strings.Contains(m.Name, "dep_map") {
			continue
		}
		h, ok, _ := plainHead(k, m.Type, link)
		if !ok {
			var err error
			if h, err = headInside(k, m.Type, link, depth-1); err != nil {
				continue
			}
		}
		h.Offset += uint64(m.Offset)
		h.Path = joinPath(m.Name, h.Path)
		return h, nil
	}
	return Head{}, fmt.Errorf("%s: %w", t, ErrNoHead)
}
