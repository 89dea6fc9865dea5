package unwind_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// open opens the dump Main for unwinding.
func open(t testing.TB) (*kernel.Kernel, *unwind.Tracer, *task.Reader) {
	t.Helper()
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	modules, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := unwind.New(k, modules)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	return k, tr, tasks
}
