package dump_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// A reader of single pages has the same pages and the same errors as the image, in
// every format.
func TestPageReader(t *testing.T) {
	image, err := dump.Open([]string{fixtures.Unpacked(t, "cut/raw.xz")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = image.Close() }() // opened for reading only
	for _, form := range kerneltest.Forms {
		other, err := dump.Open(kerneltest.Rewrite(t, image, form))
		if err != nil {
			t.Fatal(err)
		}
		r := dump.NewPageReader(other)
		buf := make([]byte, 4096)
		pages := 0
		if err := image.Sweep(context.Background(), 1, func(_ int, p dump.Page) error {
			got, err := r.Page(p.Addr, buf)
			if err != nil || !bytes.Equal(got, p.Data) {
				t.Fatalf("%s: page at %#x: %v", form, p.Addr, err)
			}
			pages++
			return nil
		}); err != nil || pages < 1000 {
			t.Errorf("%s: %d pages, %v", form, pages, err)
		}
		for _, addr := range []uint64{1 << 50, 0} {
			_, want := other.ViewPhys(addr, 4096)
			if _, err := r.Page(addr, buf); (err == nil) != (want == nil) || want != nil && !errors.Is(err, errors.Unwrap(want)) && err.Error() != want.Error() {
				t.Errorf("%s: page at %#x: %v, the image says %v", form, addr, err, want)
			}
		}
		_ = other.Close() // opened for reading only
	}
}

func ExampleNewPageReader() {
	image, err := dump.Open([]string{"../fixtures/data/main/vmcore.kdump"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = image.Close() }() // opened for reading only
	r := dump.NewPageReader(image)
	buf := make([]byte, image.Facts().PageSize)
	lost := 0
	for memory := range image.Ranges() {
		for at := memory.Start; at < memory.End; at += uint64(len(buf)) {
			if _, err := r.Page(at, buf); err != nil {
				lost++
			}
		}
	}
	fmt.Println(lost, "pages could not be read")
	// Output: 0 pages could not be read
}
