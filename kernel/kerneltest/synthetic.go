package kerneltest

import (
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Plan is a kernel that was planned: a *synthetic.Kernel, and what has one in it.
type Plan interface {
	Image(codec ...dumpwriter.Codec) (dump.Image, error)
	DebugInfo() (debuginfo.Source, error)
}

// Synthetic opens a planned kernel: its dump as ELF, or compressed by some codecs.
func Synthetic(t testing.TB, plan Plan, codec ...dumpwriter.Codec) *kernel.Kernel {
	t.Helper()
	image, err := plan.Image(codec...)
	return SyntheticIn(t, plan, image, err)
}

// SyntheticFS is Synthetic, with the file systems.
func SyntheticFS(t testing.TB, plan Plan, codec ...dumpwriter.Codec) *vfs.FS {
	t.Helper()
	image, err := plan.Image(codec...)
	return SyntheticFSIn(t, plan, image, err)
}

// SyntheticIn opens a planned kernel in another dump of it, such as a damaged one, which
// came with an error or nil.
func SyntheticIn(t testing.TB, plan Plan, image dump.Image, err error) *kernel.Kernel {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	info, err := plan.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = info.Close() }) // nothing was written
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// SyntheticFSIn is SyntheticIn, with the file systems.
func SyntheticFSIn(t testing.TB, plan Plan, image dump.Image, err error) *vfs.FS {
	t.Helper()
	fs, err := vfs.Open(SyntheticIn(t, plan, image, err))
	if err != nil {
		t.Fatal(err)
	}
	return fs
}
