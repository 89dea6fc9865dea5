package hung_test

import (
	"testing"
	"time"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// TestMissingTasks: where the list of tasks breaks, nobody is said to be gone.
func TestMissingTasks(t *testing.T) {
	k := synthetic.New(synthetic.V6_1(), synthetic.Machine{})
	k.Mount(k.SuperBlock("ext4", "sda1"), nil)
	first := k.Task("first", 100, k.InitNet())
	k.Task("second", 101, k.InitNet())
	k.Log(100*time.Second, 3, "INFO: task second:101 blocked for more than 120 seconds.")
	for _, c := range []struct {
		cut  bool
		want string
	}{{false, "running"}, {true, "not found: the tasks could not be listed whole"}} {
		d := k.Dump()
		if c.cut {
			d.PutUint64(first.At("tasks"), 0xdead000000000100)
		}
		image, err := d.Open()
		if err != nil {
			t.Fatal(err)
		}
		info, err := k.DebugInfo()
		if err != nil {
			t.Fatal(err)
		}
		kern, err := kernel.Open(image, info, kernel.Options{})
		if err != nil {
			t.Fatal(err)
		}
		fs, err := vfs.Open(kern)
		if err != nil {
			t.Fatal(err)
		}
		r := analyze(t, fs)
		if len(r.Messages) != 1 || r.Messages[0].Tied == nil || r.Messages[0].Tied.Now != c.want {
			t.Errorf("cut %v: %+v %s", c.cut, r.Messages, r.LogError)
			for _, m := range r.Messages {
				t.Logf("%+v", m.Tied)
			}
		}
	}
}
