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

func plain(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

func hex2(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}
