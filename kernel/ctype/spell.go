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
func (t *Type) Declare(name string) string {
	budget := maxSpelled
	base, words, declarator := t.declarator(name, &budget)
	return join(words+base.simpleName(), declarator)
}

// maxSpelled bounds how many derived types one declaration spells; damaged
// debug information can make a function that takes itself, twice.
const maxSpelled = 256

// declarator wraps the name in what derives the type from its base, from the
// inside out: for "const char *name[4]" the base is char, the words before it
// are "const " and the declarator is "*name[4]".
func (t *Type) declarator(name string, budget *int) (base *Type, words, declarator string) {
	for ; *budget > 0; *budget-- {
		switch t.Kind {
		case Pointer:
			name, t = pointerTo(t, "*", name)
		case Array:
			name, t = name+"["+count(t)+"]", t.Elem()
		case Func:
			name, t = name+"("+t.parameters(budget)+")", t.Elem()
		case Const, Volatile, Restrict, Atomic:
			if inner := t.StripQualifiers(); inner.Kind == Pointer {
				name, t = pointerTo(inner, "*"+strings.TrimPrefix(t.qualifiers(), " "), name)
			} else {
				// An array is const by itself and by its elements.
				if word := t.Kind.qualifier() + " "; !strings.Contains(words, word) {
					words += word
				}
				t = t.Elem()
			}
		default:
			return t, words, name
		}
	}
	return endless, words, name
}

// endless stands for types that go round in circles.
var endless = &Type{Kind: Void, Name: "..."}

func count(array *Type) string {
	if array.Count < 0 {
		return ""
	}
	return strconv.FormatInt(array.Count, 10)
}

func (k Kind) qualifier() string {
	switch k {
	case Const:
		return "const"
	case Volatile:
		return "volatile"
	case Restrict:
		return "restrict"
	case Atomic:
		return "_Atomic"
	}
	return ""
}

// qualifiers spells the qualifiers on the outside of a type: " const volatile".
func (t *Type) qualifiers() string {
	words := ""
	for range maxDepth {
		word := t.Kind.qualifier()
		if word == "" {
			break
		}
		words += " " + word
		t = t.Elem()
	}
	return words
}

// pointerTo puts the star, with the qualifiers of the pointer itself, before a
// name, in brackets where what is pointed to is a function or an array.
func pointerTo(pointer *Type, star, name string) (string, *Type) {
	target := pointer.Elem()
	if len(star) > 1 && name != "" && name[0] != ')' {
		star += " "
	}
	name = star + name
	if target.Kind == Func || target.Kind == Array {
		name = "(" + name + ")"
	}
	return name, target
}

func join(left, right string) string {
	if right == "" || right[0] == '[' {
		return left + right
	}
	return left + " " + right
}

// simpleName spells a type that is a word or two.
func (t *Type) simpleName() string {
	word := t.Kind.Keyword()
	switch {
	case word == "" && t.Name == "":
		return "void"
	case word == "":
		return t.Name
	case t.Name == "":
		return word + " {...}"
	}
	return word + " " + t.Name
}

// Keyword is struct, union or enum, empty for other kinds.
func (k Kind) Keyword() string {
	switch k {
	case Struct:
		return "struct"
	case Union:
		return "union"
	case Enum:
		return "enum"
	}
	return ""
}

// parameters spells what stands between a function's brackets.
func (t *Type) parameters(budget *int) string {
	var words []string
	for _, p := range t.Body().Params {
		*budget--
		if *budget <= 0 {
			return "..."
		}
		base, before, declarator := p.Type.declarator(p.Name, budget)
		words = append(words, join(before+base.simpleName(), declarator))
	}
	if t.Variadic {
		words = append(words, "...")
	}
	if len(words) == 0 {
		return "void"
	}
	return strings.Join(words, ", ")
}
