package expr

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// parser evaluates while it parses: expressions are small, and an error should
// name the part where it occurred.
type parser struct {
	lexer
	k     *kernel.Kernel
	tok   token
	depth int
	err   error // of the lexer
}

func (p *parser) next() {
	var ok bool
	if p.tok, ok = p.token(); !ok && p.err == nil {
		p.err = p.fail("the character %q has no meaning", p.tok.text)
	}
}

func (p *parser) fail(format string, args ...any) error {
	return &SyntaxError{Expr: p.text, At: p.tok.at, What: fmt.Sprintf(format, args...)}
}

// accept takes a punctuation mark if it comes next.
func (p *parser) accept(text string) bool {
	if p.tok.kind == punct && p.tok.text == text {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if p.err != nil {
		return p.err
	}
	if !p.accept(text) {
		return p.fail("%q is expected here", text)
	}
	return nil
}

func (p *parser) identifier() (string, error) {
	if p.tok.kind != name {
		return "", p.fail("a name is expected here")
	}
	text := p.tok.text
	p.next()
	return text, nil
}

// precedence of the binary operators, as in C; a@n, an array of n elements that
// begins at a, is gdb's.
var precedence = map[string]int{
	"|": 1, "^": 2, "&": 3, "==": 4, "!=": 4, "<": 5, ">": 5, "<=": 5, ">=": 5, "<<": 6, ">>": 6,
	"+": 7, "-": 7, "*": 8, "/": 8, "%": 8, "@": 9,
}

// binary parses operators that bind more tightly than a level.
func (p *parser) binary(level int) (Value, error) {
	if p.depth++; p.depth > maxNesting {
		return Value{}, p.fail("it is nested too deeply")
	}
	defer func() { p.depth-- }()
	left, err := p.unary()
	for err == nil && p.tok.kind == punct {
		op := p.tok.text
		own := precedence[op]
		if own <= level {
			break
		}
		p.next()
		var right Value
		if right, err = p.binary(own); err == nil {
			left, err = p.combine(op, left, right)
		}
	}
	return left, err
}

func (p *parser) unary() (Value, error) {
	if p.depth++; p.depth > maxNesting {
		return Value{}, p.fail("it is nested too deeply")
	}
	defer func() { p.depth-- }()
	if p.err != nil {
		return Value{}, p.err
	}
	for op, apply := range map[string]func(Value) (Value, error){
		"*": p.deref, "&": p.address, "-": p.negate, "~": p.invert, "!": p.not,
	} {
		if p.accept(op) {
			v, err := p.unary()
			if err != nil {
				return v, err
			}
			return apply(v)
		}
	}
	if p.tok.kind == punct && p.tok.text == "(" {
		if t, ok, err := p.castType(); err != nil || ok {
			if err != nil {
				return Value{}, err
			}
			v, err := p.unary()
			if err != nil {
				return v, err
			}
			return p.cast(t, v)
		}
	}
	return p.postfix()
}

// castType takes "(type)" if that comes next.
func (p *parser) castType() (*ctype.Type, bool, error) {
	saved, tok := p.lexer, p.tok
	p.next()
	if p.startsType() {
		t, err := p.typeName()
		if err == nil {
			err = p.expect(")")
		}
		return t, true, err
	}
	p.lexer, p.tok = saved, tok
	return nil, false, nil
}

// typeWords begin a type. Other names may be typedefs.
var typeWords = map[string]bool{
	"struct": true, "union": true, "enum": true, "const": true, "volatile": true, "unsigned": true, "signed": true,
	"char": true, "short": true, "int": true, "long": true, "void": true, "_Bool": true, "bool": true,
}

func (p *parser) startsType() bool {
	if p.tok.kind != name {
		return false
	}
	if typeWords[p.tok.text] {
		return true
	}
	if _, err := p.k.Info().Variable(p.tok.text); err == nil {
		return false
	}
	_, err := p.k.Type(p.tok.text)
	return err == nil
}

// typeName parses a type: its words, and any number of stars.
func (p *parser) typeName() (*ctype.Type, error) {
	var words []string
	for p.tok.kind == name && (typeWords[p.tok.text] || len(words) == 0 || record(words[len(words)-1])) {
		if w := p.tok.text; w != "const" && w != "volatile" {
			words = append(words, w)
		}
		p.next()
	}
	spelled := strings.Join(words, " ")
	t, err := ctype.VoidType, error(nil)
	if spelled != "void" {
		if t, err = p.k.Type(spelled); err != nil {
			return nil, err
		}
	}
	for stars := 0; p.tok.kind == punct && p.tok.text == "*"; stars++ {
		if stars == maxNesting {
			return nil, p.fail("it is nested too deeply")
		}
		p.next()
		t = pointerTo(t)
	}
	return t, nil
}

func record(word string) bool { return word == "struct" || word == "union" || word == "enum" }

// postfix parses a primary expression and the members and indices behind it.
func (p *parser) postfix() (Value, error) {
	v, err := p.primary()
	for err == nil {
		switch {
		case p.accept("."), p.accept("->"):
			var member string
			if member, err = p.identifier(); err == nil {
				v, err = p.member(v, member)
			}
		case p.accept("["):
			var i Value
			if i, err = p.binary(0); err == nil {
				if err = p.expect("]"); err == nil {
					v, err = p.index(v, i)
				}
			}
		default:
			return v, p.err
		}
	}
	return v, err
}

func (p *parser) primary() (Value, error) {
	switch tok := p.tok; {
	case tok.kind == number:
		digits := strings.TrimRight(tok.text, "uUlL")
		n, err := strconv.ParseUint(digits, 0, 64)
		if err != nil {
			return Value{}, p.fail("%q is no number", tok.text)
		}
		p.next()
		if n > math.MaxInt64 || strings.ContainsAny(tok.text[len(digits):], "uU") {
			return Value{typ: unsignedLong, number: n}, nil
		}
		return Value{typ: signedLong, number: n}, nil
	case tok.kind == name:
		p.next()
		return p.named(tok.text)
	case p.accept("("):
		v, err := p.binary(0)
		if err == nil {
			err = p.expect(")")
		}
		return v, err
	}
	return Value{}, p.fail("a name, a number or a parenthesis is expected here")
}

// named is a function of ours, an enum's constant or a variable.
func (p *parser) named(text string) (Value, error) {
	if text == "sizeof" {
		return p.sizeof()
	}
	if p.tok.kind == punct && p.tok.text == "(" {
		switch text {
		case "container_of":
			return p.containerOf()
		case "offsetof":
			return p.offsetOf()
		case "per_cpu":
			return p.perCPU()
		}
		return Value{}, p.fail("%s is no function that can be called; there are sizeof, offsetof, container_of and per_cpu", text)
	}
	o := p.k.Object(text)
	if o.Err() == nil {
		return Value{object: o, typ: o.Type()}, nil
	}
	if n, t, err := p.k.Info().Enumerator(text); err == nil {
		return Value{typ: t, number: uint64(n)}, nil
	}
	sym, ok := p.k.Info().Symbols().Lookup(text)
	if !ok {
		return Value{}, o.Err()
	}
	addr := p.k.Runtime(sym.Addr)
	if sym.Kind == debuginfo.SymbolText {
		return p.function(text, addr), nil
	}
	return Value{typ: ctype.VoidType, object: p.k.ObjectOf(ctype.VoidType, addr)}, nil // of unknown type: its address can be cast
}

// function is a function, which in C stands for its address.
func (p *parser) function(name string, addr uint64) Value {
	t, err := p.k.Info().Function(name)
	if err != nil {
		t = ctype.VoidType
	}
	return Value{typ: pointerTo(t), number: addr}
}
