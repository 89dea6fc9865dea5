package ctype

// maxDepth bounds the walk along typedefs, qualifiers and arrays: real ones
// nest less than ten deep, damaged debug information can go round in circles.
const maxDepth = 64

// Size is the size in bytes of an object of the type, as sizeof gives it: that
// of the whole array, of what a typedef stands for, and so on. It is 0 for
// void, functions, incomplete types and flexible arrays.
func (t *Type) Size() int64 {
	size := int64(1)
	for range maxDepth {
		switch t.Kind {
		case Typedef, Const, Volatile, Restrict, Atomic:
			t = t.Elem()
		case Array:
			if t.Count <= 0 {
				return 0
			}
			if size > maxSize/t.Count {
				return 0 // no such object can be: the debug information is damaged
			}
			size *= t.Count
			t = t.Elem()
		default:
			if t.Bytes > 0 && size > maxSize/t.Bytes {
				return 0
			}
			return size * t.Bytes
		}
	}
	return 0
}

const maxSize = 1 << 56

// Strip is the type without typedefs and qualifiers: what it really is.
func (t *Type) Strip() *Type {
	for range maxDepth {
		switch t.Kind {
		case Typedef, Const, Volatile, Restrict, Atomic:
			t = t.Elem()
		default:
			return t
		}
	}
	return VoidType
}

// StripQualifiers is the type without const, volatile, restrict and _Atomic on
// its outside, but with its typedef name.
func (t *Type) StripQualifiers() *Type {
	for range maxDepth {
		switch t.Kind {
		case Const, Volatile, Restrict, Atomic:
			t = t.Elem()
		default:
			return t
		}
	}
	return VoidType
}

// IsRecord tells whether the type, without typedefs and qualifiers, is a
// struct or a union.
func (t *Type) IsRecord() bool {
	k := t.Strip().Kind
	return k == Struct || k == Union
}
