package census

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// TestMergeOrder: however the dentries are divided among workers, in whatever order each
// meets its own, and in whatever order what they counted is merged, the directories, patterns
// and deleted dentries of the report are the same.
func TestMergeOrder(t *testing.T) {
	fs := kerneltest.MainFS(t)
	opt := Options{Top: 50, Held: 20}
	opt.setDefaults()
	var cover kernel.Coverage
	s := newShared(fs, listSupers(fs, &cover), opt, &cover)
	s.table = nil // lengths of chains are no matter of merging
	all := hashedDentries(t, fs)
	random := rand.New(rand.NewPCG(5, 6))
	var first DentryReport
	for round := range 12 {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		tallies := make([]*tally, 1+round%5)
		for i := range tallies {
			tallies[i] = newTally(s)
		}
		for i := range all {
			tallies[random.IntN(len(tallies))].add(&all[i], false)
		}
		random.Shuffle(len(tallies), func(i, j int) { tallies[i], tallies[j] = tallies[j], tallies[i] })
		for _, other := range tallies[1:] {
			tallies[0].merge(other)
		}
		r := DentryReport{}
		d := describer{fs: fs, opt: opt, r: &r, total: tallies[0], mounts: fs.Mounts()}
		d.describeDirectories()
		d.describePatterns()
		if round == 0 {
			first = r
			if !slices.ContainsFunc(r.Directories, func(d Directory) bool { return d.Pattern != "" }) ||
				!slices.ContainsFunc(r.Patterns, func(p Pattern) bool { return p.Directory != "" }) {
				t.Fatalf("no directory has a main pattern, or no pattern a main directory: %+v", r)
			}
		}
		if !reflect.DeepEqual(r, first) {
			t.Fatalf("round %d:\n%+v\nis not\n%+v", round, r, first)
		}
	}
}

func hashedDentries(t *testing.T, fs *vfs.FS) []vfs.Dentry {
	t.Helper()
	table, err := fs.HashTable()
	if err != nil {
		t.Fatal(err)
	}
	var all []vfs.Dentry
	for e, err := range table.Entries(0, table.Buckets) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *e.Dentry)
	}
	return all
}

// TestMainPairs: the pattern of more than half of a directory's names is named, also where it
// is just more than half and the others come between; that of half of them is not.
func TestMainPairs(t *testing.T) {
	const odd, even, many = 1, 2, 3 // directories
	dirs, pairs := newSketch[counted](100), newSketch[pair](100)
	count := func(p pair) {
		e, _ := dirs.at(p.dir)
		e.total++
		both, _ := pairs.at(p.key())
		both.total++
		both.of = p
	}
	for i := range uint64(101) {
		count(pair{odd, i % 2}) // 51 of pattern 0, 50 of pattern 1
		if i < 100 {
			count(pair{even, i % 2})
			count(pair{many, i % 7})
		}
	}
	side := func(p pair) uint64 { return p.dir }
	found := mainPairs(pairs, dirs.top(10, byText), 0, side)
	if want := map[uint64]pair{odd: {odd, 0}}; !reflect.DeepEqual(found, want) {
		t.Errorf("%v, not %v", found, want)
	}
	if found := mainPairs(pairs, dirs.top(10, byText), 2, side); len(found) != 0 { // 51 of up to 103
		t.Errorf("%v, where two may be missed", found)
	}
}

// TestLowest: what is kept are the lowest, in whatever order they come and merge.
func TestLowest(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, most := range []int{1, 10, 500, 2000} {
		parts := []lowest{{most: most}, {most: most}, {most: most}}
		for _, addr := range random.Perm(1000) {
			parts[random.IntN(3)].add(uint64(addr))
		}
		parts[1].merge(&parts[2])
		parts[0].merge(&parts[1])
		list := parts[0].sorted()
		if want := min(most, 1000); len(list) != want || list[want-1] != uint64(want-1) || parts[0].more != uint64(1000-want) {
			t.Errorf("%d: %d are kept, %d more", most, len(list), parts[0].more)
		}
	}
}
