package ctype

import (
	"strconv"
	"strings"
)

// String spells the type as C does, without a name: "struct dentry *",
// "int (*)(struct file *, char *)", "const char *[4]".
func (t *Type) String() string { return t.Declare("") }

// Declare spells the declaration of a name of the type: "char comm[16]",
// "void (*func)(struct callback_head *)". Structs, unions and enums are named,
// not spelled out; anonymous ones show as "struct {...}".
func (t *Type) Declare(name string) string { return declare(t, name, 0) }

// declare wraps the name, from the inside of the declarator to the outside.
func declare(t *Type, name string, depth int) string {
	for ; depth < maxDepth; depth++ {
		switch t.Kind {
		case Pointer:
			name, t = pointerTo(t, "*", name)
		case Array:
			count := ""
			if t.Count >= 0 {
				count = strconv.FormatInt(t.Count, 10)
			}
			name, t = name+"["+count+"]", t.Elem()
		case Func:
			name, t = name+"("+parameters(t, depth+1)+")", t.Elem()
		case Const, Volatile, Restrict, Atomic:
			word := qualifiers[t.Kind]
			inner := t.StripQualifiers()
			if inner.Kind != Pointer {
				return word + " " + declare(t.Elem(), name, depth+1)
			}
			word, inner = pointerQualifiers(t)
			name, t = pointerTo(inner, word, name)
		default:
			return join(t.simpleName(), name)
		}
	}
	return join("...", name)
}

var qualifiers = map[Kind]string{Const: "const", Volatile: "volatile", Restrict: "restrict", Atomic: "_Atomic"}

// pointerTo puts the star, with the qualifiers of the pointer itself, before a
// name, in brackets where what is pointed to is a function or an array.
func pointerTo(pointer *Type, star, name string) (string, *Type) {
	target := pointer.Elem()
	if len(star) > 1 && name != "" {
		star += " "
	}
	name = star + name
	if target.Kind == Func || target.Kind == Array {
		name = "(" + name + ")"
	}
	return name, target
}

// pointerQualifiers collects the qualifiers around a pointer: "* const".
func pointerQualifiers(t *Type) (string, *Type) {
	words := "*"
	for range maxDepth {
		word, ok := qualifiers[t.Kind]
		if !ok {
			break
		}
		words += " " + word
		t = t.Elem()
	}
	return words, t
}

func join(left, right string) string {
	switch {
	case right == "":
		return left
	case right[0] == '[':
		return left + right
	}
	return left + " " + right
}

// simpleName spells a type that is a word or two.
func (t *Type) simpleName() string {
	word := ""
	switch t.Kind {
	case Struct:
		word = "struct"
	case Union:
		word = "union"
	case Enum:
		word = "enum"
	default:
		if t.Name == "" {
			return "void"
		}
		return t.Name
	}
	if t.Name == "" {
		return word + " {...}"
	}
	return word + " " + t.Name
}

// parameters spells what stands between a function's brackets.
func parameters(t *Type, depth int) string {
	if depth >= maxDepth {
		return "..."
	}
	params := t.Body().Params
	var words []string
	for i := range params {
		words = append(words, declare(params[i].Type, params[i].Name, depth+1))
	}
	if t.Variadic {
		words = append(words, "...")
	}
	if len(words) == 0 {
		return "void"
	}
	return strings.Join(words, ", ")
}
