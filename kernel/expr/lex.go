package expr

import (
	"strconv"
	"strings"
)

type tokenKind uint8

const (
	end tokenKind = iota
	name
	number
	punct
)

type token struct {
	kind tokenKind
	text string
	at   int
}

// lexer cuts an expression into tokens.
type lexer struct {
	text string
	at   int
}

// twoChars are the operators of two characters.
var twoChars = []string{"->", "<<", ">>", "==", "!=", "<=", ">=", "&&", "||"}

func (l *lexer) token() (token, bool) {
	for l.at < len(l.text) && strings.IndexByte(" \t\n", l.text[l.at]) >= 0 {
		l.at++
	}
	start := l.at
	if start == len(l.text) {
		return token{kind: end, at: start}, true
	}
	switch c := l.text[start]; {
	case letter(c):
		return l.word(name), true
	case digit(c):
		return l.word(number), true
	}
	if l.text[start] == '\'' {
		return l.character()
	}
	for _, op := range twoChars {
		if strings.HasPrefix(l.text[start:], op) {
			l.at += len(op)
			return token{punct, op, start}, true
		}
	}
	l.at++
	op := l.text[start:l.at]
	return token{punct, op, start}, strings.Contains("()[].,*&+-~/%^|!<>@", op)
}

// character takes a constant such as 'a', '\n', '\0' or '\x1f' as the number that it is.
func (l *lexer) character() (token, bool) {
	start := l.at
	text := l.text[start+1:]
	// C's octal escapes have one digit or more, Go's have three.
	for n := 1; n <= 2 && len(text) > n+1 && text[0] == '\\' && digit(text[n]); n++ {
		if text[n+1] == '\'' {
			text = `\` + "000"[n:] + text[1:]
			break
		}
	}
	c, _, rest, err := strconv.UnquoteChar(text, '\'')
	if err != nil || !strings.HasPrefix(rest, "'") || c > 0xff {
		l.at++
		return token{punct, "'", start}, false
	}
	l.at = len(l.text) - len(rest) + 1
	return token{number, strconv.Itoa(int(c)), start}, true
}

func (l *lexer) word(kind tokenKind) token {
	start := l.at
	for l.at < len(l.text) && (letter(l.text[l.at]) || digit(l.text[l.at])) {
		l.at++
	}
	return token{kind, l.text[start:l.at], start}
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
