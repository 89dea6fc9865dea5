package debuginfo_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// checkFacts compares a source with what the compiler itself printed about the
// types in testdata/types.h.
func checkFacts(t *testing.T, src debuginfo.Source) {
	t.Helper()
	f, err := os.Open("testdata/built/facts.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		if err := checkFact(src, lines.Text()); err != nil {
			t.Errorf("%s: %v", lines.Text(), err)
		}
	}
	if n < 90 {
		t.Errorf("only %d facts", n)
	}
}

func checkFact(src debuginfo.Source, line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "constant":
		return checkConstant(src, rest)
	case "size":
		at := strings.LastIndexByte(rest, ' ')
		return checkSize(src, rest[:at], rest[at+1:])
	}
	typeName, rest, _ := strings.Cut(rest, " . ")
	var path string
	var first, second int64
	if _, err := fmt.Sscan(rest, &path, &first, &second); err != nil {
		return err
	}
	typ, err := src.Type(typeName)
	if err != nil {
		return err
	}
	field, err := typ.Field(path)
	if err != nil {
		return err
	}
	return checkMember(kind, field, first, second)
}

func checkMember(kind string, field ctype.Field, first, second int64) error {
	switch {
	case kind == "bits" && (field.Offset*8+int64(field.BitOffset) != first || int64(field.BitSize) != second):
		return fmt.Errorf("got byte %d bit %d width %d", field.Offset, field.BitOffset, field.BitSize)
	case kind == "member" && (field.Offset != first || second != field.Type.Size() || field.BitSize != 0):
		return fmt.Errorf("got offset %d size %d", field.Offset, field.Type.Size())
	}
	return nil
}

func checkSize(src debuginfo.Source, name, size string) error {
	typ, err := src.Type(name)
	if err != nil {
		return err
	}
	if fmt.Sprint(typ.Size()) != size {
		return fmt.Errorf("got %d", typ.Size())
	}
	return nil
}

func checkConstant(src debuginfo.Source, rest string) error {
	name, want, _ := strings.Cut(rest, " ")
	value, _, err := src.Enumerator(name)
	if err == nil && fmt.Sprint(value) != want {
		err = fmt.Errorf("got %d", value)
	}
	return err
}

// built are the ELF files made by testdata/make, each with the same types.
func built(t testing.TB) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"*.elf", "*.ko"} {
		found, err := filepath.Glob(filepath.Join("testdata/built", pattern))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	if len(list) < 10 {
		t.Fatalf("only %d files in testdata/built", len(list))
	}
	return list
}

func TestFacts(t *testing.T) {
	for _, path := range built(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			checkFacts(t, open(t, path))
		})
	}
}
