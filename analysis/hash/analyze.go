package hash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kmortem/mortem/analysis/chains"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/hashtable"
	"github.com/kmortem/mortem/kernel/netns"
)

// Options choose the tables and what the report holds of them.
type Options struct {
	Names []string // presets, or C expressions; all presets where there are none
	Nets  bool     // the tables of all network namespaces, and not only of init_net

	Table   hashtable.Options // what the types of the expressions do not say
	Top     int               // chains to list of each table; 0 means 3, negative all (up to chains.MaxRanked)
	Entries int               // entries to list of each chain; negative means all
	Workers int               // goroutines; 0 means one a processor

	// Progress, if set, is told from several goroutines how many of the tables'
	// parts are done.
	Progress func(done, total int)
}

// Analyze measures the chains of hash tables. The error is that of a table that was
// asked for and cannot be found, or of ctx; everything else is part of the report's
// coverage.
func Analyze(ctx context.Context, k *kernel.Kernel, opt Options) (*Report, error) {
	opt.setDefaults()
	r := &Report{Coverage: k.NewCoverage()}
	found, err := find(k, opt, r)
	if err != nil {
		return nil, err
	}
	for i, f := range found {
		done := func(part, of int) {
			if opt.Progress != nil {
				opt.Progress(i*of+part, len(found)*of)
			}
		}
		one, err := measure(ctx, f, opt, &r.Coverage, done)
		if err != nil {
			return nil, err
		}
		r.Tables = append(r.Tables, one)
	}
	slices.SortStableFunc(r.Tables, func(a, b Table) int {
		return cmp.Or(cmp.Compare(b.beyond(), a.beyond()), cmp.Compare(b.Excess, a.Excess), cmp.Compare(b.Entries, a.Entries))
	})
	nameNets(k, r)
	r.Findings = findings(r)
	return r, nil
}

// beyond is how many entries of the longest chain chance does not explain. That is
// what a lookup pays: in a table of a few entries two of them may well meet.
func (t *Table) beyond() int { return max(t.Longest-t.ExpectedLongest, 0) }

func (o *Options) setDefaults() {
	if o.Top == 0 {
		o.Top = 3
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
}

// foundTable is a table and what is looked up in it.
type foundTable struct {
	*hashtable.Table
	what string
}

// find finds the tables that are asked for.
func find(k *kernel.Kernel, opt Options, r *Report) ([]foundTable, error) {
	f := finder{k: k, reader: hashtable.New(k), report: r, seen: make(map[uint64]bool)}
	if opt.Nets {
		var err error
		if f.nets, err = f.reader.Nets(); err != nil {
			r.Coverage.Fail(err)
		}
	}
	if len(opt.Names) == 0 {
		for _, p := range hashtable.Presets() {
			if err := f.preset(p); err != nil {
				f.leaveOut(p.Name, err)
			}
		}
		return f.list, nil
	}
	for _, name := range opt.Names {
		p, err := hashtable.Lookup(name)
		if err == nil {
			err = f.preset(p)
		} else {
			err = f.expression(name, opt.Table)
		}
		if err != nil {
			return nil, fmt.Errorf("hash table %s: %w", name, err)
		}
	}
	return f.list, nil
}

type finder struct {
	k      *kernel.Kernel
	reader *hashtable.Reader
	nets   []uint64 // other than init_net
	report *Report
	list   []foundTable
	seen   map[uint64]bool // by address: namespaces may share a table
}

// maxNetTables bounds how many tables of network namespaces are measured.
const maxNetTables = 1 << 20

func (f *finder) preset(p hashtable.Preset) error {
	tables, err := f.reader.Tables(p, 0)
	f.add(tables, p.What)
	if !p.Net || err != nil && hashtable.Absent(err) && !errors.Is(err, hashtable.ErrUnset) {
		return err
	}
	for _, net := range f.nets {
		if len(f.list) >= maxNetTables {
			break
		}
		tables, err := f.reader.Tables(p, net)
		f.add(tables, p.What)
		if err != nil && !hashtable.Absent(err) {
			f.report.Coverage.Fail(err)
		}
	}
	return err
}

func (f *finder) add(tables []*hashtable.Table, what string) {
	for _, t := range tables {
		if key := t.Addr + t.Head.Offset; !f.seen[key] {
			f.seen[key] = true
			f.list = append(f.list, foundTable{t, what})
		}
	}
}

func (f *finder) expression(text string, opt hashtable.Options) error {
	tables, err := hashtable.Expr(f.k, text, opt)
	f.add(tables, "")
	if err != nil && errors.Is(err, kernel.ErrNotFound) {
		if _, unknown := hashtable.Lookup(text); unknown != nil {
			return fmt.Errorf("%w; it is no known table either", err)
		}
	}
	return err
}

// leaveOut notes a table that is not measured: because the kernel has none, which
// takes nothing from the answer, or because it cannot be read.
func (f *finder) leaveOut(name string, err error) {
	f.report.Absent = append(f.report.Absent, Absent{Name: name, Why: err.Error()})
	if !hashtable.Absent(err) {
		f.report.Coverage.Fail(fmt.Errorf("hash table %s: %w", name, err))
	}
}

// nameNets gives the inode numbers of the tables' network namespaces.
func nameNets(k *kernel.Kernel, r *Report) {
	nets, err := netns.New(k)
	if err != nil {
		return // there are none
	}
	for i := range r.Tables {
		t := &r.Tables[i]
		if t.Net == 0 {
			continue
		}
		n, err := nets.Read(uint64(t.Net))
		if err != nil {
			r.Coverage.Fail(err)
			continue
		}
		t.NetInum = n.Inum
	}
}

// tally is what the walk over a part of a table adds up to.
type tally struct {
	lengths  chains.Lengths
	used     uint64
	entries  uint64
	lost     uint64 // buckets whose heads cannot be read
	broken   uint64
	top      chains.Ranking[Chain]
	coverage kernel.Coverage
}

// parts is how many parts a large table is divided into, and smallTable how many
// buckets are not worth it.
const (
	parts      = 64
	smallTable = 1 << 13
)

// measure walks all chains of a table in parallel.
func measure(ctx context.Context, f foundTable, opt Options, cover *kernel.Coverage, done func(part, of int)) (Table, error) {
	n := uint64(parts)
	if f.Buckets <= smallTable {
		n = 1
	}
	tallies := make([]tally, n)
	size := (f.Buckets + n - 1) / n
	var next, finished atomic.Int64
	var workers sync.WaitGroup
	for range min(opt.Workers, int(n)) {
		workers.Go(func() {
			for {
				i := uint64(next.Add(1) - 1)
				if i >= n || ctx.Err() != nil {
					return
				}
				tallies[i].guarded(ctx, f.Table, min(i*size, f.Buckets), min((i+1)*size, f.Buckets), opt)
				done(int(finished.Add(1)), int(n))
			}
		})
	}
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return Table{}, err
	}
	total := &tallies[0]
	for i := range tallies[1:] {
		total.add(&tallies[i+1])
	}
	cover.Add(total.coverage)
	return describe(f, total, opt, cover), nil
}

// guarded is walk on a goroutine of its own, where a dump file that is cut short
// meanwhile must not end the program.
func (t *tally) guarded(ctx context.Context, table *hashtable.Table, from, to uint64, opt Options) {
	if err := dump.Guard(func() error {
		t.walk(ctx, table, from, to, opt)
		return nil
	}); err != nil {
		t.coverage.Fail(err)
	}
}

func (t *tally) walk(ctx context.Context, table *hashtable.Table, from, to uint64, opt Options) {
	t.top = chains.NewRanking[Chain](opt.Top)
	seen := 0
	for c, err := range table.Chains(from, to) {
		one := Chain{Bucket: c.Bucket, Addr: kernel.Addr(c.Addr), Length: c.Length}
		if err != nil {
			t.coverage.Fail(err)
			t.broken++
			one.Broken = err.Error()
			if c.Length == 0 {
				t.lost++
				continue
			}
		}
		t.used++
		t.entries += uint64(c.Length)
		t.lengths.Count(c.Length, 1)
		t.top.Add(chains.Ranked[Chain]{Bucket: c.Bucket, Length: c.Length, Of: one})
		if seen++; seen&0xfff == 0 && ctx.Err() != nil {
			return
		}
	}
	t.lengths.Count(0, to-from-t.used-t.lost)
	t.coverage.Read += t.entries
}

func (t *tally) add(o *tally) {
	t.lengths.Add(&o.lengths)
	t.used += o.used
	t.entries += o.entries
	t.broken += o.broken
	t.top.Join(&o.top)
	t.coverage.Add(o.coverage)
}

// describe makes the answer of what was counted.
func describe(f foundTable, total *tally, opt Options, cover *kernel.Coverage) Table {
	t := Table{
		Name: f.Name, Expr: f.Expr, What: f.what, Net: kernel.Addr(f.Net), Addr: kernel.Addr(f.Addr),
		Kind: string(f.Head.Kind), Entry: f.Entry, Buckets: f.Buckets, Used: total.used, Entries: total.entries,
		Counter: f.Counter, Longest: total.lengths.Longest(), Broken: total.broken,
		ExpectedLongest: chains.ExpectedLongest(total.entries, f.Buckets),
		Steps:           total.lengths.Steps(), ExpectedSteps: chains.ExpectedSteps(total.entries, f.Buckets),
		Histogram: total.lengths.Histogram(total.entries, f.Buckets),
	}
	for _, c := range total.top.List() {
		t.Chains = append(t.Chains, c.Of)
	}
	t.Excess = float64(t.Longest) / float64(max(t.ExpectedLongest, 1))
	t.Long = total.lengths.LongerThan(t.ExpectedLongest)
	for i := range t.Chains {
		c := &t.Chains[i]
		for entry, err := range f.Table.Entries(c.Bucket) {
			if err != nil || opt.Entries >= 0 && len(c.Entries) >= opt.Entries || len(c.Entries) >= maxListed {
				break // the error was met before
			}
			c.Entries = append(c.Entries, kernel.Addr(entry))
		}
	}
	return t
}

// maxListed bounds the entries listed of a chain.
const maxListed = 1 << 20
