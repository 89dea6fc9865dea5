package debuginfo_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/indump"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// layout is what pahole prints about one struct or union: the size, and each
// member at any depth as "name offset:bit width size".
type layout struct {
	kind, name string
	size       int64
	members    []string
}

var (
	paholeHead   = regexp.MustCompile(`^(struct|union) (\w+) \{$`)
	paholePlace  = regexp.MustCompile(`/\*\s+(\d+)(?::\s*(\d+))?\s+(\d+) \*/$`)
	paholeSize   = regexp.MustCompile(`/\* size: (\d+)`)
	attributes   = regexp.MustCompile(`\s*__attribute__\(\(.*?\)\)\)?`)
	functionName = regexp.MustCompile(`\(\s*\*+\s*(?:const\s+|volatile\s+)*(\w+)`)
	lastName     = regexp.MustCompile(`(\w*)$`)
)

// parsePahole reads pahole's output into layouts.
func parsePahole(r io.Reader) ([]layout, error) {
	var list []layout
	var cur *layout
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " ")
		if m := paholeHead.FindStringSubmatch(line); m != nil {
			list = append(list, layout{kind: m[1], name: m[2]})
			cur = &list[len(list)-1]
			continue
		}
		switch {
		case cur == nil:
		case strings.HasPrefix(line, "}"):
			cur = nil
		case strings.HasPrefix(line, "\t/* size: "):
			cur.size, _ = strconv.ParseInt(paholeSize.FindStringSubmatch(line)[1], 10, 64)
		default:
			if m := paholePlace.FindStringSubmatchIndex(line); m != nil && !strings.HasPrefix(strings.TrimSpace(line), "/*") {
				cur.members = append(cur.members, paholeMember(line, m))
			}
		}
	}
	return list, lines.Err()
}

// paholeMember shortens one member's line.
func paholeMember(line string, m []int) string {
	text := strings.TrimSpace(line[:m[0]])
	text = attributes.ReplaceAllString(strings.TrimSuffix(text, ";"), "")
	offset, _ := strconv.ParseInt(line[m[2]:m[3]], 10, 64)
	size := line[m[6]:m[7]]
	width, bit := 0, 0
	if m[4] >= 0 {
		bit, _ = strconv.Atoi(line[m[4]:m[5]])
		at := strings.LastIndexByte(text, ':')
		width, _ = strconv.Atoi(text[at+1:])
		text = text[:at]
	}
	return entry(paholeName(text), offset, bit, width, size)
}

func paholeName(text string) string {
	if m := functionName.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	if i := strings.IndexByte(text, '['); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	return lastName.FindString(strings.TrimSpace(text))
}

func entry(name string, offset int64, bit, width int, size string) string {
	if width == 0 {
		return fmt.Sprintf("%s %d %s", name, offset, size)
	}
	return fmt.Sprintf("%s bit %d:%d", name, offset*8+int64(bit), width)
}

// layoutOf describes a type of ours in the same way.
func layoutOf(t *ctype.Type) layout {
	l := layout{kind: "struct", name: t.Name, size: t.Bytes}
	if t.Kind == ctype.Union {
		l.kind = "union"
	}
	l.add(t, 0)
	return l
}

func (l *layout) add(t *ctype.Type, at int64) {
	for _, m := range t.Members() {
		if base, inside := anonymousBase(m.Type); base != nil && inside {
			l.add(base, at+m.Offset)
		} else if base != nil {
			l.add(base, 0)
		}
		l.members = append(l.members, entry(m.Name, at+m.Offset, int(m.BitOffset), int(m.BitSize), strconv.FormatInt(m.Type.Size(), 10)))
	}
}

// anonymousBase is the struct or union without a tag that a member's type is
// made of, which pahole spells out, and whether it lies inside the member.
func anonymousBase(t *ctype.Type) (base *ctype.Type, inside bool) {
	inside = true
	for {
		switch t.Kind {
		case ctype.Pointer:
			inside = false
			t = t.Elem()
		case ctype.Array, ctype.Const, ctype.Volatile:
			t = t.Elem()
		case ctype.Struct, ctype.Union:
			if t.Name == "" {
				return t, inside
			}
			return nil, false
		default:
			return nil, false
		}
	}
}

// comparePahole checks each struct that pahole knows against the source. Where
// files define different structs of one name, one of them must be the same.
func comparePahole(t *testing.T, src debuginfo.Source, text io.Reader) {
	t.Helper()
	list, err := parsePahole(text)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]layout{}
	var order []string
	for _, l := range list {
		key := l.kind + " " + l.name
		if want[key] == nil {
			order = append(order, key)
		}
		want[key] = append(want[key], l)
	}
	if len(order) < 1 {
		t.Fatal("pahole printed no structs")
	}
	bad, members := 0, 0
	for _, key := range order {
		typ, err := src.Type(key)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		got := layoutOf(typ)
		members += len(got.members)
		if diff := differs(got, want[key]); diff != "" {
			if bad++; bad < 20 {
				t.Errorf("%s: %s", key, diff)
			}
		}
	}
	t.Logf("%d structs and unions with %d members, %d differ", len(order), members, bad)
}

func differs(got layout, wanted []layout) string {
	diff := ""
	for _, want := range wanted {
		if diff = got.differs(&want); diff == "" {
			return ""
		}
	}
	return diff
}

func (l *layout) differs(want *layout) string {
	if l.size != want.size && want.size != 0 { // it prints none for unions
		return fmt.Sprintf("size %d, pahole says %d", l.size, want.size)
	}
	for i := range max(len(l.members), len(want.members)) {
		switch {
		case i >= len(l.members):
			return fmt.Sprintf("lacks %q", want.members[i])
		case i >= len(want.members):
			return fmt.Sprintf("has %q, which pahole does not", l.members[i])
		case l.members[i] != want.members[i]:
			return fmt.Sprintf("has %q where pahole has %q", l.members[i], want.members[i])
		}
	}
	return ""
}

// TestPaholeOfPrograms compares the small programs, in every version and form of
// DWARF, as BTF and as packs, with what pahole printed of DWARF 4, DWARF 5 and BTF.
func TestPaholeOfPrograms(t *testing.T) {
	recorded := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join("testdata/built", name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	dwarf4, dwarf5 := recorded("pahole-dwarf4.txt"), recorded("pahole-dwarf5.txt")
	check := func(name string, src debuginfo.Source, texts ...[]byte) {
		t.Run(name, func(t *testing.T) {
			for _, text := range texts {
				comparePahole(t, src, bytes.NewReader(text))
			}
		})
	}
	for _, path := range built(t) {
		src := open(t, path)
		check(filepath.Base(path), src, dwarf4, dwarf5)
		check(filepath.Base(path)+" packed", packOf(t, src), dwarf4, dwarf5)
	}
	check("BTF", fromBTF(t, "testdata/built/types.btf"), recorded("pahole-btf.txt"))
}

// TestPaholeRecorded compares the fixture's kernel with what pahole printed
// when it was captured.
func TestPaholeRecorded(t *testing.T) {
	text, err := os.ReadFile(fixtures.Unpacked(t, "vmlinux.pahole.xz"))
	if err != nil {
		t.Fatal(err)
	}
	src := open(t, fixtures.Unpacked(t, "vmlinux.xz"))
	comparePahole(t, src, bytes.NewReader(text))
}

// TestPaholeOfDump compares the BTF in the fixture's dump with it.
func TestPaholeOfDump(t *testing.T) {
	text, err := os.ReadFile(fixtures.Unpacked(t, "vmlinux.pahole.xz"))
	if err != nil {
		t.Fatal(err)
	}
	image, err := dump.Open([]string{fixtures.Path(t, kerneltest.Main)})
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	mem, err := kernel.OpenMemory(image)
	if err != nil {
		t.Fatal(err)
	}
	src, err := indump.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	comparePahole(t, src, bytes.NewReader(text))
}

// TestPaholeAgrees runs pahole, where it is installed, on the vmlinux that the
// environment names.
func TestPaholeAgrees(t *testing.T) {
	path := os.Getenv("MORTEM_TEST_VMLINUX")
	if path == "" {
		t.Skip("compares with pahole on the vmlinux that MORTEM_TEST_VMLINUX names, see testdata/fetch-debian; TestPaholeRecorded compares with what pahole printed of the fixtures")
	}
	if _, err := exec.LookPath("pahole"); err != nil {
		t.Skip("pahole, which is compared with, is not installed")
	}
	src, err := debuginfo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	out, err := exec.Command("pahole", "-F", "dwarf", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	comparePahole(t, src, bytes.NewReader(out))
}
