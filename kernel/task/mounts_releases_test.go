package task_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

// TestMountsOfReleases: the mounts of the first namespace, in the order in which
// they were made, by the list that kernels had until 6.7 and without it.
func TestMountsOfReleases(t *testing.T) {
	for _, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			s := synthetic.NewScene(l, synthetic.Machine{}, 5)
			fs := kerneltest.SyntheticFS(t, s)
			reader, err := task.New(fs.Kernel())
			if err != nil {
				t.Fatal(err)
			}
			details, err := task.NewDetails(reader, fs)
			if err != nil {
				t.Fatal(err)
			}
			tk, err := reader.At(s.Tasks()[0].Addr)
			if err != nil {
				t.Fatal(err)
			}
			m, err := details.More(tk)
			if err != nil {
				t.Fatal(err)
			}
			list, err := details.Mounts(tk, m)
			if err != nil {
				t.Fatal(err)
			}
			type line struct {
				id, parent int32
				device     string
			}
			var got, want []line
			for i := range list {
				got = append(got, line{list[i].ID, list[i].ParentID, list[i].Device})
			}
			for _, m := range s.Mounts() {
				if !m.Internal {
					want = append(want, line{int32(m.ID), int32(m.Parent.ID), m.Device})
				}
			}
			if !slices.Equal(got, want) || len(want) < 3 {
				t.Errorf("%+v, planned %+v", got, want)
			}
		})
	}
}
