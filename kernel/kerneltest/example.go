package kerneltest

import (
	"sync"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Runnable examples have no testing.TB, and are to show something else than opening a
// dump and handling errors: what follows panics where something fails.

// mainImage is the dump Main.
var mainImage = sync.OnceValues(func() (dump.Image, error) {
	path, err := fixtures.Find(Main)
	if err != nil {
		return nil, err
	}
	return dump.Open([]string{path})
})

// ExampleKernel opens the kernel in the dump Main, as kernel.Open does. Each call gives
// another one, of the same image and debug information.
func ExampleKernel() *kernel.Kernel {
	info := must(source())
	return must(kernel.Open(must(mainImage()), info, kernel.Options{}))
}

// ExampleMemory is the memory of the kernel in the dump Main without any debug
// information, as kernel.OpenMemory gives it.
func ExampleMemory() *kernel.Memory { return must(kernel.OpenMemory(must(mainImage()))) }

// ExampleFS is the file system of an ExampleKernel, as vfs.Open gives it.
func ExampleFS() *vfs.FS { return must(vfs.Open(ExampleKernel())) }

// ExampleTasks are the tasks of an ExampleKernel, as task.New gives them.
func ExampleTasks() *task.Reader { return must(task.New(ExampleKernel())) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
