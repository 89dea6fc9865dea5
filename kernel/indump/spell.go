package indump

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel/ctype"
)

const pointerSize = 8

// spelled makes the type of a spelling from the list of variables: the name of
// a type, and behind it stars and empty brackets.
func (s *Source) spelled(spelling string) (*ctype.Type, error) {
	end := strings.IndexAny(spelling, "*[")
	if end < 0 {
		end = len(spelling)
	}
	base, volatile := strings.CutPrefix(strings.TrimSpace(spelling[:end]), "volatile ")
	t, err := s.Type(base)
	if err != nil {
		return nil, err
	}
	if t.Incomplete {
		return nil, fmt.Errorf("%s is only declared in %s", base, description)
	}
	if volatile {
		t = over(t, &ctype.Type{Kind: ctype.Volatile})
	}
	for rest := spelling[end:]; rest != ""; {
		if rest[0] == '*' {
			t, rest = over(t, &ctype.Type{Kind: ctype.Pointer, Bytes: pointerSize}), rest[1:]
			continue
		}
		t, rest = over(t, &ctype.Type{Kind: ctype.Array, Count: -1}), strings.TrimPrefix(rest, "[]")
	}
	return t, nil
}

// over makes a type that is derived from another.
func over(elem, t *ctype.Type) *ctype.Type {
	return ctype.Lazy(t, func() ctype.Body { return ctype.Body{Elem: elem} })
}
