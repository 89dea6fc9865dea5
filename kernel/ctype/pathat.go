package ctype

import "strconv"

// PathAt is the path of the innermost member at an offset in bytes from the start of a
// type, in the form that Field takes, the member's type, and how far into the member
// the offset lies. Of a union's members it is the first that reaches there. The path is
// empty where there is no member: in a hole, or in what is no struct, union or array.
func (t *Type) PathAt(offset int64) (path string, typ *Type, rest int64) {
	typ, rest = t, offset
	for depth := 0; depth < maxAnonymous; depth++ {
		s := typ.Strip()
		switch {
		case s.Kind == Array:
			size := s.Elem().Size()
			if size <= 0 || rest < 0 || s.Count > 1 && rest/size >= s.Count {
				return path, typ, rest
			}
			path += "[" + strconv.FormatInt(rest/size, 10) + "]"
			typ, rest = s.Elem(), rest%size
		case s.IsRecord():
			m := s.memberAt(rest)
			if m == nil {
				return path, typ, rest
			}
			if m.Name != "" && path != "" {
				path += "."
			}
			path += m.Name
			typ, rest = m.Type, rest-m.Offset
			if m.BitSize != 0 {
				return path, typ, rest
			}
		default:
			return path, typ, rest
		}
	}
	return path, typ, rest
}

// memberAt is the first member that has bytes at an offset.
func (t *Type) memberAt(offset int64) *Member {
	members := t.Members()
	for i := range members {
		m := &members[i]
		size := m.Type.Size()
		if a := m.Type.Strip(); a.Kind == Array && a.Count <= 0 && i == len(members)-1 {
			size = maxSize // a flexible array
		}
		if offset >= m.Offset && offset-m.Offset < size {
			return m
		}
	}
	return nil
}
