package printk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// byteLog writes into a byte ring as printk did up to 3.4: character by
// character, log_end counting all of them, logged_chars at most the size.
type byteLog struct {
	*ram
	size         uint64
	buf          uint64
	end, logged  uint32
	endAt, logAt uint64
}

func newByteLog(size uint64) *byteLog { return newByteLogIn(newRAM(), size) }

func newByteLogIn(r *ram, size uint64) *byteLog {
	l := &byteLog{ram: r, size: size}
	pointer := l.variable("log_buf", 8)
	l.endAt = l.variable("log_end", 4)
	length := l.variable("log_buf_len", 4)
	l.logAt = l.variable("logged_chars", 4)
	l.buf = l.alloc(size)
	l.put64(pointer, l.buf)
	l.put32(length, uint32(size))
	return l
}

func (l *byteLog) print(text string) {
	for _, c := range []byte(text) {
		l.bytes(l.buf + uint64(l.end)%l.size)[0] = c
		l.end++
		l.logged = min(l.logged+1, uint32(l.size))
	}
	l.put32(l.endAt, l.end)
	l.put32(l.logAt, l.logged)
}

func openTest(t testing.TB, s source) *Log {
	t.Helper()
	l, err := open(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestByteRing(t *testing.T) {
	l := newByteLog(4096)
	l.print("<6>[    0.000000] Linux version 2.6.32\n" +
		"<4>without a time\n" +
		"<30>[   12.345678] systemd[1]: started\n" +
		"<0>[123456.000001] \n" +
		"<7>[    1.000000] a\ttab and \x1b[31m and <4> inside\n" +
		"<6>[drm] not a time\n" +
		"<6>[   13.000000] cut off by the c")
	records, lost := collect(openTest(t, l.source()))
	if len(lost) != 0 {
		t.Errorf("lost: %v", lost)
	}
	want := []Record{
		{Timed: true, Level: LevelInfo, Text: []byte("Linux version 2.6.32")},
		{Level: LevelWarn, Text: []byte("without a time")},
		{Timed: true, Time: 12345678 * time.Microsecond, Level: LevelInfo, Facility: 3, Text: []byte("systemd[1]: started")},
		{Timed: true, Time: 123456000001 * time.Microsecond, Level: LevelEmerg, Text: []byte{}},
		{Timed: true, Time: time.Second, Level: LevelDebug, Text: []byte("a\ttab and \x1b[31m and <4> inside")},
		{Level: LevelInfo, Text: []byte("[drm] not a time")},
		{Timed: true, Time: 13 * time.Second, Level: LevelInfo, Text: []byte("cut off by the c")},
	}
	if len(records) != len(want) {
		t.Fatalf("%d records: %q", len(records), texts(records))
	}
	for i, w := range want {
		w.Seq, w.Flags = uint64(i), FlagNewline
		if got := records[i]; fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("record %d is %+v, want %+v", i, got, w)
		}
	}
	if got := records[4].Show(); got != "a\ttab and \\x1b[31m and <4> inside" {
		t.Errorf("shown as %q", got)
	}
}

// TestByteRingWraps fills rings round and round: what can be read are the last
// bytes written, the first line of which has lost its beginning.
func TestByteRingWraps(t *testing.T) {
	for _, size := range []uint64{512, 4096, 8192, 200 << 10} {
		l := newByteLog(size)
		var all strings.Builder
		for i := 0; uint64(all.Len()) < 3*size; i++ {
			line := fmt.Sprintf("<6>[%5d.%06d] message %d %s\n", i/7, i, i, strings.Repeat("x", i%61))
			all.WriteString(line)
			l.print(line)
		}
		log := openTest(t, l.source())
		if !log.Wrapped() {
			t.Errorf("ring of %d bytes: not wrapped", size)
		}
		records, lost := collect(log)
		if len(lost) != 0 {
			t.Fatalf("ring of %d bytes lost %v", size, lost)
		}
		kept := all.String()[uint64(all.Len())-size:]
		var want []string
		for i, line := range strings.Split(strings.TrimSuffix(kept, "\n"), "\n") {
			if _, text, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(line, "<6>") {
				want = append(want, text)
			} else if i == 0 {
				want = append(want, line)
				if !records[0].Cut {
					t.Errorf("ring of %d bytes: the first record is not cut: %+v", size, records[0])
				}
			}
		}
		if got := texts(records); !slices.Equal(got, want) {
			t.Errorf("ring of %d bytes: got %d records from %q on, want %d from %q on", size, len(got), got[0], len(want), want[0])
		}
	}
}

// TestByteRingCounterBeginsAnew: log_end has 32 bits, and 4 GiB of log later it
// says nothing about whether the ring is full.
func TestByteRingCounterBeginsAnew(t *testing.T) {
	l := newByteLog(4096)
	l.end = 1<<32 - 200*24 // each line has 24 bytes
	for range 200 {
		l.print("<6>[    1.000000] older\n")
	}
	l.print("<6>[    2.000000] newer\n")
	records, _ := collect(openTest(t, l.source()))
	if n := len(records); n < 160 || string(records[n-1].Text) != "newer" || string(records[n-2].Text) == "newer" {
		t.Errorf("%d records, the last %q", n, texts(records)[n-2:])
	}
}

func TestByteRingWithHole(t *testing.T) {
	l := newByteLog(5 * testPage)
	for i := range 700 {
		l.print(fmt.Sprintf("<6>[    0.%06d] message %d\n", i, i))
	}
	whole, _ := collect(openTest(t, l.source()))
	l.holes[l.buf+2*testPage] = true
	records, lost := collect(openTest(t, l.source()))
	if len(lost) != 1 || !errors.Is(lost[0], errHole) || lost[0].Bytes != testPage || lost[0].Addr != l.buf+2*testPage {
		t.Fatalf("lost %v", lost)
	}
	if n := len(whole) - len(records); n < testPage/35 || n > testPage/25 {
		t.Errorf("%d records of %d are gone", n, len(whole))
	}
	cut := 0
	for _, r := range records {
		if r.Cut {
			cut++
		}
	}
	if cut != 2 { // the oldest, and the one behind the hole
		t.Errorf("%d records are cut", cut)
	}
}

func TestByteRingOfOneLine(t *testing.T) {
	l := newByteLog(100 << 10)
	l.print("<6>[    0.000000] " + strings.Repeat("endless ", 9000))
	records, _ := collect(openTest(t, l.source()))
	var all []byte
	for i, r := range records {
		if r.Continues != (i > 0) {
			t.Errorf("record %d continues: %v", i, r.Continues)
		}
		all = append(all, r.Text...)
	}
	if len(records) < 2 || string(all) != strings.Repeat("endless ", 9000) {
		t.Errorf("%d records of %d bytes", len(records), len(all))
	}
}
