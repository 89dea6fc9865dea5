// Package cstr turns bytes of a dump into strings that are fit to be shown. A
// name in a dump may hold terminal escapes, newlines or broken UTF-8, by
// accident or on purpose.
package cstr

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Trim returns the bytes before the first NUL.
func Trim(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// Show returns the bytes as text in which everything that does not print, and
// every byte that is not UTF-8, is written as \n, \t, \xNN or \u{N}, and a
// backslash as \\, so that the original bytes can be told from it.
func Show(b []byte) string {
	if plain(b) {
		return string(b)
	}
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			s.WriteString(`\x`)
			s.WriteString(hex2(b[0]))
		case r == '\\':
			s.WriteString(`\\`)
		case r == '\n':
			s.WriteString(`\n`)
		case r == '\t':
			s.WriteString(`\t`)
		case r < 0x20 || r == 0x7f:
			s.WriteString(`\x`)
			s.WriteString(hex2(byte(r)))
		case !unicode.IsPrint(r):
			s.WriteString(`\u{` + strconv.FormatUint(uint64(r), 16) + `}`)
		default:
			s.Write(b[:n])
		}
		b = b[n:]
	}
	return s.String()
}

// ShowC is Show of the bytes before the first NUL.
func ShowC(b []byte) string { return Show(Trim(b)) }

// maxStrange bounds names that must be escaped, which no name in C is.
const maxStrange = 64

// Name returns a name out of debug information or a symbol table as Show does, but
// costs nothing for what is a name in C, and keeps only the first bytes of others.
func Name[S string | []byte](name S) string {
	if plain(name) {
		return string(name)
	}
	return Show([]byte(name[:min(len(name), maxStrange)]))
}

// Path is Show for the path of a source file; it costs nothing for a plain one.
func Path(path string) string {
	if plain(path) {
		return path
	}
	return Show([]byte(path))
}

func plain[S string | []byte](b S) bool {
	for i := range len(b) {
		if c := b[i]; c < 0x20 || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

func hex2(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}
