package census

import (
	"math/rand/v2"
	"testing"
)

func TestPatterns(t *testing.T) {
	for name, want := range map[string]string{
		".6685897_dOeSnotExist_.db":                     ".<n>_dOeSnotExist_.db",
		"blob-0000002a-1f2e-4d3c-8b4a-00000001eef0.tmp": "blob-<uuid>.tmp",
		"file-0014.dat":                                 "file-<n>.dat",
		"":                                              "",
		"42":                                            "<n>",
		"sda1":                                          "sda<n>",
		"libssl.so.1.0.2k":                              "libssl.so.<n>.<n>.<n>k",
		"README.md":                                     "README.md",
		"deadbeef":                                      "deadbeef", // a word: no digit in it
		"d3adbeef99":                                    "<hex>",
		"5F3759DF01":                                    "<hex>",
		"tmp.aB3x9Z1q":                                  "tmp.<random>",
		"tmpk3j9x2":                                     "<random>",
		"ns017":                                         "ns<n>",
		"ipv6":                                          "ipv<n>",
		"vm-100-disk-1.qcow2":                           "vm-<n>-disk-<n>.qcow<n>",
		"0123456789abcdef0123456789abcdef":              "<hex>",
		"123e4567-e89b-12d3-a456-426614174000":          "<uuid>",
		"123e4567-e89b-12d3-a456-4266141740001":         "<hex>-e<n>b-<n>d<n>-a<n>-<n>", // one digit too many
		"\x00\xff7":                                     "\x00\xff<n>",
	} {
		if got := string(appendPattern(nil, []byte(name))); got != want {
			t.Errorf("%q has the pattern %q, want %q", name, got, want)
		}
	}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { buf = appendPattern(buf[:0], []byte(".6685897_dOeSnotExist_.db")) }); n != 0 {
		t.Errorf("%g allocations for a pattern", n)
	}
}

// TestAlike: two names are taken for alike only where their patterns are equal, and
// those that differ in some digits are.
func TestAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	found := 0
	for range 200_000 {
		a := make([]byte, 1+r.IntN(40))
		for i := range a {
			a[i] = "0123456789abcdefxyzXYZ._-\x00\xff:/"[r.IntN(29)]
		}
		b := append([]byte(nil), a...)
		for range r.IntN(4) {
			i := r.IntN(len(b))
			if old := b[i]; r.IntN(2) == 0 {
				b[i] = byte(r.Uint32())
			} else if classes[old]&digit != 0 {
				b[i] = '0' + byte(r.IntN(10))
			}
		}
		var one recent
		one.remember(a, 1)
		same := one.alike(b)
		if same && string(appendPattern(nil, a)) != string(appendPattern(nil, b)) {
			t.Fatalf("%q and %q are taken for alike", a, b)
		}
		if same {
			found++
		}
	}
	if found < 50_000 {
		t.Errorf("only %d are alike", found)
	}
}

func FuzzPattern(f *testing.F) {
	for _, name := range []string{".6685897_dOeSnotExist_.db", "123e4567-e89b-12d3-a456-426614174000", "a1b2c3", "\x80\x00"} {
		f.Add([]byte(name))
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		got := appendPattern(nil, name)
		if len(got) > 3*len(name) {
			t.Fatalf("%q became %q", name, got)
		}
		// Any number in the place of another leaves the pattern as it is, but for
		// what is taken for something else then; a pattern without digits is final.
		for _, c := range got {
			if classes[c]&digit != 0 {
				t.Fatalf("%q has digits in its pattern %q", name, got)
			}
		}
	})
}

// TestSketch: a sketch with too little room keeps the largest counts, each within
// the error that it states, also where several are merged.
func TestSketch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n, room = 1_000_000, 1 << 10
	truth := map[uint64]uint64{}
	parts := []*sketch[counted]{newSketch[counted](room), newSketch[counted](room), newSketch[counted](room)}
	whole := newSketch[counted](1 << 20)
	for range n {
		// Key k comes about 1/k times as often as the first.
		key := uint64(1) << r.IntN(16)
		key += r.Uint64N(key)
		if r.IntN(3) == 0 {
			key = 7
		}
		truth[key]++
		for _, s := range []*sketch[counted]{parts[r.IntN(3)], whole} {
			e, _ := s.at(key)
			e.total++
			e.of.note(key, 0, 0, 0, 1)
		}
	}
	for i := range parts[1:] {
		parts[0].merge(parts[i+1], addCounted)
	}
	for name, s := range map[string]*sketch[counted]{"small": parts[0], "whole": whole} {
		for i := range s.entries {
			e := &s.entries[i]
			if e.total > truth[e.key] || e.total+s.error < truth[e.key] {
				t.Fatalf("%s: key %d has %d, counted %d with an error of %d", name, e.key, truth[e.key], e.total, s.error)
			}
		}
		// What is more frequent than the error is there.
		for key, n := range truth {
			if n > s.error && s.find(key) == nil {
				t.Errorf("%s: key %d with %d is not there; the error is %d", name, key, n, s.error)
			}
		}
		if top := s.top(1, byText); top[0].key != 7 || top[0].of.sample != [2]uint64{7, 7} {
			t.Errorf("%s: the most frequent is %+v", name, top[0])
		}
	}
	if parts[0].error == 0 || parts[0].error > n/room*8 || len(parts[0].entries) > room || whole.error != 0 {
		t.Errorf("the error of %d in room for %d is %d; %d entries", n, room, parts[0].error, len(parts[0].entries))
	}
}
