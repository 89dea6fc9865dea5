package debuginfo_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// Many goroutines ask for everything, in different orders, and get the same
// types.
func TestConcurrent(t *testing.T) {
	src := open(t, "testdata/built/gcc-dwarf5-types.elf")
	for _, s := range []debuginfo.Source{src, packOf(t, src)} {
		names := slices.Sorted(s.(debuginfo.Names).Types())
		const workers = 8
		got := make([][]*ctype.Type, workers)
		var wg sync.WaitGroup
		for w := range workers {
			got[w] = make([]*ctype.Type, len(names))
			wg.Go(func() {
				for i := range names {
					at := (i + w*7) % len(names)
					typ, err := s.Type(names[at])
					if err != nil {
						t.Error(err)
						continue
					}
					_, _ = typ.Size(), len(typ.Members())
					got[w][at] = typ
				}
				s.Symbols().Lookup("entry")
				s.Symbols().Containing(0x400130)
				_, _, _ = s.Enumerator("GREEN")
				_, _ = s.(debuginfo.Lines).Frames(0x400140)
				_, _ = s.Variable("everything")
			})
		}
		wg.Wait()
		for w := 1; w < workers; w++ {
			if !slices.Equal(got[0], got[w]) {
				t.Errorf("%s: goroutines got different types", s.Describe())
			}
		}
	}
}
