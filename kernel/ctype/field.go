package ctype

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Field is where a path of members leads.
type Field struct {
	Offset int64 // bytes from the start of the type that the path was looked up in
	// BitOffset and BitSize are as in Member; BitSize is 0 for what is not a
	// bit-field.
	BitOffset uint8
	BitSize   uint8
	Type      *Type
}

// ErrNoField is wrapped by the errors for members that a type does not have.
var ErrNoField = errors.New("no such member")

// Field finds a member by a path such as "d_name.hash", "mem[2].base" or
// "d_parent": names divided by dots, and constant indexes into arrays. Members
// of anonymous structs and unions are found as C finds them. Pointers are not
// followed. An index beyond the end of an array is an error, save for flexible
// arrays and those of 0 or 1 elements, which kernels use as such.
func (t *Type) Field(path string) (Field, error) {
	f := Field{Type: t}
	if path == "" {
		return f, fmt.Errorf("%s: empty member path", t)
	}
	for rest := path; rest != ""; {
		var err error
		rest, err = f.step(rest, rest == path)
		if err != nil {
			return Field{}, err
		}
	}
	return f, nil
}

// HasField tells whether a path leads to a member.
func (t *Type) HasField(path string) bool {
	_, err := t.Field(path)
	return err == nil
}

// step follows the first name or index of the path and returns the rest.
func (f *Field) step(path string, first bool) (string, error) {
	if path[0] == '[' {
		return f.index(path)
	}
	if path[0] == '.' {
		path = path[1:]
	} else if !first {
		return "", fmt.Errorf("%s: %q does not follow in a member path", f.Type, path)
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	name := path[:end]
	if name == "" {
		return "", fmt.Errorf("%s: empty name in a member path", f.Type)
	}
	record := f.Type.Strip()
	m, offset, ok := record.Member(name)
	if !ok {
		return "", f.Type.noMember(name)
	}
	f.Offset += offset
	f.BitOffset, f.BitSize, f.Type = m.BitOffset, m.BitSize, m.Type
	return path[end:], nil
}

// index follows "[n]".
func (f *Field) index(path string) (string, error) {
	end := strings.IndexByte(path, ']')
	if end < 0 {
		return "", fmt.Errorf("%s: %q lacks a ]", f.Type, path)
	}
	array := f.Type.Strip()
	if array.Kind != Array {
		return "", fmt.Errorf("%s: %q: not an array", f.Type, path[:end+1])
	}
	n, err := strconv.ParseInt(path[1:end], 0, 64)
	if err != nil {
		return "", fmt.Errorf("%s: %q: the index must be a number", f.Type, path[:end+1])
	}
	if n < 0 || array.Count > 1 && n >= array.Count {
		return "", fmt.Errorf("%s: index %d is outside the array", f.Type, n)
	}
	size := array.Elem().Size()
	if size > 0 && n > maxSize/size {
		return "", fmt.Errorf("%s: index %d is outside any address space", f.Type, n)
	}
	f.Offset += n * size
	f.BitOffset, f.BitSize, f.Type = 0, 0, array.Elem()
	return path[end+1:], nil
}

// Member finds a member of a struct or union by name, also in anonymous
// structs and unions inside. The offset counts in bytes from the start of t.
func (t *Type) Member(name string) (m Member, offset int64, ok bool) {
	budget := maxAnonymous
	return t.member(name, &budget)
}

// maxAnonymous bounds how many anonymous structs are looked into; in damaged
// debug information they can contain themselves.
const maxAnonymous = 1 << 10

func (t *Type) member(name string, budget *int) (Member, int64, bool) {
	members := t.Members()
	for i := range members {
		if members[i].Name == name && name != "" {
			return members[i], members[i].Offset, true
		}
	}
	for i := range members {
		if members[i].Name != "" || !members[i].Type.IsRecord() {
			continue
		}
		if *budget--; *budget < 0 {
			break
		}
		if m, offset, ok := members[i].Type.Strip().member(name, budget); ok {
			return m, members[i].Offset + offset, true
		}
	}
	return Member{}, 0, false
}

// noMember makes the error for a name that is not there.
func (t *Type) noMember(name string) error {
	record := t.Strip()
	if err := record.Body().Err; err != nil {
		return fmt.Errorf("%s: %w", t, err)
	}
	switch {
	case record.Kind != Struct && record.Kind != Union:
		return fmt.Errorf("%s has no member %q, being no struct or union: %w", t, name, ErrNoField)
	case record.Incomplete:
		return fmt.Errorf("%s has no known members (looked for %q), the debug information only declares it: %w", t, name, ErrNoField)
	}
	near := record.nearest(name, 3)
	if len(near) == 0 {
		return fmt.Errorf("%s has no member %q: %w", t, name, ErrNoField)
	}
	return fmt.Errorf("%s has no member %q; the nearest are %s: %w", t, name, strings.Join(near, ", "), ErrNoField)
}

// nearest returns the member names that differ least from name.
func (t *Type) nearest(name string, n int) []string {
	type candidate struct {
		name     string
		distance int
	}
	var list []candidate
	budget := maxAnonymous
	t.names(&budget, func(s string) {
		if len(list) < 4096 {
			list = append(list, candidate{s, distance(name, s)})
		}
	})
	sort.SliceStable(list, func(i, j int) bool { return list[i].distance < list[j].distance })
	var names []string
	for _, c := range list[:min(n, len(list))] {
		names = append(names, c.name)
	}
	return names
}

// names calls visit with the name of each member that Member finds.
func (t *Type) names(budget *int, visit func(string)) {
	for _, m := range t.Members() {
		if m.Name != "" {
			visit(m.Name)
		} else if *budget--; *budget >= 0 && m.Type.IsRecord() {
			m.Type.Strip().names(budget, visit)
		}
	}
}

// distance is the edit distance of two names (Levenshtein), less what one has
// in common with the other as a part: d_child is near d_children.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	d := row[len(b)]
	if strings.Contains(a, b) || strings.Contains(b, a) {
		d /= 2
	}
	return d
}
