package kerneltest

import (
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// ARM64Info is the debug information of the arm64 guest's kernel.
func ARM64Info(t testing.TB) debuginfo.Source {
	t.Helper()
	info, err := debuginfo.Open(fixtures.Path(t, "arm64/vmlinux.mpack"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = info.Close() }) // opened for reading only
	return info
}

// ARM64Image is the dump of the arm64 guest.
func ARM64Image(t testing.TB) dump.Image {
	t.Helper()
	image, err := dump.Open([]string{fixtures.Unpacked(t, "arm64/vmcore.xz")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = image.Close() }) // opened for reading only
	return image
}

// ARM64 opens the arm64 guest's kernel.
func ARM64(t testing.TB) *kernel.Kernel {
	t.Helper()
	k, err := kernel.Open(ARM64Image(t), ARM64Info(t), kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ARM64Kdump opens the kernel of the arm64 guest that panicked, from the kdump that a
// second kernel wrote.
func ARM64Kdump(t testing.TB) *kernel.Kernel {
	t.Helper()
	info, err := debuginfo.Open(fixtures.Path(t, "arm64-kdump/vmlinux.mpack"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = info.Close() }) // opened for reading only
	image, err := dump.Open([]string{fixtures.Unpacked(t, "arm64-kdump/vmcore.kdump.xz")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = image.Close() }) // opened for reading only
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}
