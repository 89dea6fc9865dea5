package cstr_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/kmortem/mortem/kernel/cstr"
)

func TestShow(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"plain.txt":              "plain.txt",
		"größe":                  "größe",
		"a\\b":                   `a\\b`,
		"line\nbreak\ttab":       `line\nbreak\ttab`,
		"\x1b[31mred\x07":        `\x1b[31mred\x07`,
		"\xff\xfe":               `\xff\xfe`,
		"\u202egnp.exe":          `\u{202e}gnp.exe`, // right-to-left override
		"\u009b31m":              `\u{9b}31m`,       // C1 control sequence introducer
		"a\x00b":                 `a\x00b`,
		"\x7f":                   `\x7f`,
		strings.Repeat("é", 300): strings.Repeat("é", 300),
	} {
		if got := cstr.Show([]byte(in)); got != want {
			t.Errorf("Show(%q) = %q; want %q", in, got, want)
		}
	}
	if got := cstr.ShowC([]byte("proc\x00garbage")); got != "proc" {
		t.Errorf("ShowC does not stop at the NUL: %q", got)
	}
}

// FuzzShow: whatever goes in, what comes out prints, and different names stay
// different.
func FuzzShow(f *testing.F) {
	f.Add([]byte("a\\x41"), []byte("aA"))
	f.Add([]byte{0xff}, []byte(`\xff`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		s := cstr.Show(a)
		if !utf8.ValidString(s) {
			t.Errorf("%q is no UTF-8", s)
		}
		for _, r := range s {
			if !unicode.IsPrint(r) {
				t.Errorf("%q does not print", s)
			}
		}
		if string(a) != string(b) && s == cstr.Show(b) {
			t.Errorf("%q and %q look the same: %q", a, b, s)
		}
	})
}

func ExampleShow() {
	fmt.Println(cstr.Show([]byte("evil\x1b[2Jname\n")))
	// Output: evil\x1b[2Jname\n
}
