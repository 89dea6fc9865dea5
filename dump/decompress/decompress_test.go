package decompress

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// text is compressible and differs from block to block.
func text(n int) []byte {
	random := rand.New(rand.NewPCG(7, 8))
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(strings.Repeat(string(rune('a'+random.IntN(26))), random.IntN(40)))
	}
	return b.Bytes()[:n]
}

// packed has a program compress data, and skips the test where there is none.
func packed(t testing.TB, data []byte, program string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("the program that packs the test's data is not installed: %v", err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return out
}

func TestFormats(t *testing.T) {
	data := text(400 << 10)
	for _, command := range []string{
		"xz -c", "xz -c -T2 --block-size=20KiB", "xz -c -T2 --block-size=20KiB --check=crc32", "xz -c --check=none -T2 --block-size=150KiB",
		"xz -c --x86 --lzma2", "xz -c --format=lzma", "gzip -c", "zstd -c -q", "zstd -c -q -19 --long=27", "bzip2 -c", "cat",
	} {
		t.Run(command, func(t *testing.T) {
			words := strings.Fields(command)
			raw := packed(t, data, words[0], words[1:]...)
			r, err := File(bytes.NewReader(raw), int64(len(raw)))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d: %v", len(got), len(data), err)
			}
		})
	}
}

func TestSeek(t *testing.T) {
	data := text(400 << 10)
	raw := packed(t, data, "xz", "-c", "-T2", "--block-size=64KiB")
	r, err := File(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		at := random.Int64N(int64(len(data)))
		if _, err := r.(io.Seeker).Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		want := data[at:min(len(data), int(at)+100000)]
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("at %d: %v", at, err)
		}
	}
}

func TestDamagedBlocks(t *testing.T) {
	data := text(1 << 18)
	raw := packed(t, data, "xz", "-c", "-T2", "--block-size=64KiB")
	for i := 6; i < len(raw); i += 1 + len(raw)/60 {
		damaged := bytes.Clone(raw)
		damaged[i] ^= 0x10
		r, err := File(bytes.NewReader(damaged), int64(len(damaged)))
		if err != nil {
			continue
		}
		if got, err := io.ReadAll(r); err == nil && !bytes.Equal(got, data) {
			t.Errorf("a flipped bit at %d gives other data without an error", i)
		}
		r.Close()
	}
}

// FuzzFile unpacks damaged files.
func FuzzFile(f *testing.F) {
	data := text(20000)
	for _, args := range [][]string{{"xz", "-c"}, {"xz", "-c", "-T2", "--block-size=4KiB"}, {"gzip", "-c"}, {"zstd", "-c", "-q"}, {"bzip2", "-c"}, {"xz", "-c", "--format=lzma"}} {
		if _, err := exec.LookPath(args[0]); err == nil {
			f.Add(packed(f, data, args[0], args[1:]...))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := File(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		defer r.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<22))
	})
}
