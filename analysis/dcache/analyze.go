package dcache

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/kmortem/mortem/analysis/chains"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Options choose what the report holds. The zero value means the defaults.
type Options struct {
	Top       int // chains to describe; 0 means 10, negative all (up to chains.MaxRanked)
	MinLength int // describe no shorter chain; 0 means 2
	Entries   int // entries to list of each name in a chain; negative means all
	MaxLength int // an alarm is raised where a chain is longer; 0 means never
	Workers   int // goroutines; 0 means one a processor

	// Progress, if set, is told from several goroutines how many of the
	// table's parts are done.
	Progress func(done, total int)
}

// Analyze walks every bucket of dentry_hashtable and describes the longest
// chains. The error is that of a table that cannot be found or of ctx;
// everything else is part of the report's coverage.
func Analyze(ctx context.Context, fs *vfs.FS, opt Options) (*Report, error) {
	opt.setDefaults()
	table, err := fs.HashTable()
	if err != nil {
		return nil, err
	}
	total, err := survey(ctx, fs, table, opt)
	if err != nil {
		return nil, err
	}
	r := &Report{
		Table: Table{
			Addr:            kernel.Addr(table.Addr),
			Buckets:         table.Buckets,
			Used:            total.used,
			Index:           string(table.Index),
			Longest:         total.lengths.Longest(),
			ExpectedLongest: chains.ExpectedLongest(total.counts.Total, table.Buckets),
		},
		Dentries: total.counts,
		Coverage: fs.Kernel().NewCoverage(),
	}
	r.Coverage.Add(total.coverage)
	r.Histogram = histogram(&total.lengths, total.counts.Total, table.Buckets)
	r.Long = total.lengths.LongerThan(r.Table.ExpectedLongest)
	d := newDescriber(fs, table, opt, &r.Coverage)
	longest := total.top.List()
	r.Chains = make([]Chain, 0, len(longest))
	for _, c := range longest {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.Chains = append(r.Chains, d.describe(c.Bucket))
	}
	d.countChildren(r)
	if r.hasDeadOwners() {
		r.Churn = d.owners.churn
		r.Churn.readLog(fs.Kernel())
	}
	r.Findings = findings(r, &opt)
	return r, nil
}

// histogram is that of the chains, whose entries are dentries here.
func histogram(l *chains.Lengths, dentries, buckets uint64) []Bin {
	var bins []Bin
	for _, b := range l.Histogram(dentries, buckets) {
		bins = append(bins, Bin{From: b.From, To: b.To, Buckets: b.Buckets, Dentries: b.Entries, Expected: b.Expected})
	}
	return bins
}

func (o *Options) setDefaults() {
	if o.Top == 0 {
		o.Top = 10
	}
	if o.MinLength <= 0 {
		o.MinLength = 2
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
}

// tally is what the survey of a part of the table adds up to.
type tally struct {
	counts   Counts
	used     uint64
	unread   uint64 // buckets of which nothing is known, not even that they are empty
	lengths  chains.Lengths
	top      chains.Ranking[struct{}]
	coverage kernel.Coverage
}

type ranked = chains.Ranked[struct{}]

// parts is how many parts the table is divided into. More than workers, so
// that a part with the one long chain does not keep the others waiting.
const parts = 64

// survey walks all chains in parallel. The parts are added up in their order.
func survey(ctx context.Context, fs *vfs.FS, table *vfs.HashTable, opt Options) (*tally, error) {
	tallies := make([]tally, parts)
	size := (table.Buckets + parts - 1) / parts
	var next, finished atomic.Int64
	var workers sync.WaitGroup
	for range opt.Workers {
		workers.Go(func() {
			for {
				i := uint64(next.Add(1) - 1)
				if i >= parts || ctx.Err() != nil {
					return
				}
				from, to := min(i*size, table.Buckets), min((i+1)*size, table.Buckets)
				tallies[i].guarded(ctx, fs, table, from, to, opt)
				if n := int(finished.Add(1)); opt.Progress != nil {
					opt.Progress(n, parts)
				}
			}
		})
	}
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	total := &tally{top: chains.NewRanking[struct{}](opt.Top)}
	for i := range tallies {
		total.add(&tallies[i])
	}
	return total, nil
}

// guarded is survey on a goroutine of its own, where a dump file that is cut
// short meanwhile must not end the program.
func (t *tally) guarded(ctx context.Context, fs *vfs.FS, table *vfs.HashTable, from, to uint64, opt Options) {
	err := dump.Guard(func() error {
		t.survey(ctx, fs, table, from, to, opt)
		return nil
	})
	if err != nil {
		t.coverage.Fail(err)
	}
}

// survey walks the chains of a range of buckets.
func (t *tally) survey(ctx context.Context, fs *vfs.FS, table *vfs.HashTable, from, to uint64, opt Options) {
	t.top = chains.NewRanking[struct{}](opt.Top)
	cur := ranked{Bucket: from}
	seen := 0
	for e, err := range table.Entries(from, to) {
		if err != nil {
			t.broken(err, &cur, opt)
			continue
		}
		if e.Bucket != cur.Bucket {
			t.chain(cur, opt)
			cur = ranked{Bucket: e.Bucket}
		}
		cur.Length++
		t.counts.add(fs, e.Dentry)
		if seen++; seen&0xffff == 0 && ctx.Err() != nil {
			return
		}
	}
	t.chain(cur, opt)
	t.coverage.Read += t.counts.Total
	t.lengths.Count(0, to-from-t.used-t.unread)
}

// broken takes note of the end of a chain that could not be followed.
func (t *tally) broken(err error, cur *ranked, opt Options) {
	t.coverage.Fail(err)
	var chain *vfs.ChainError
	if !errors.As(err, &chain) || chain.Bucket == cur.Bucket && cur.Length > 0 {
		return
	}
	t.chain(*cur, opt)
	*cur = ranked{Bucket: chain.Bucket}
	t.unread++
}

func (t *tally) chain(c ranked, opt Options) {
	if c.Length == 0 {
		return
	}
	t.used++
	t.lengths.Count(c.Length, 1)
	if c.Length >= opt.MinLength {
		t.top.Add(c)
	}
}

func (t *tally) add(o *tally) {
	t.counts.plus(o.counts)
	t.used += o.used
	t.unread += o.unread
	t.lengths.Add(&o.lengths)
	t.top.Join(&o.top)
	t.coverage.Add(o.coverage)
}

func (c *Counts) add(fs *vfs.FS, d *vfs.Dentry) {
	c.Total++
	if d.Negative() {
		c.Negative++
	}
	if d.Count == 0 {
		c.Unused++
	}
	if fs.OnLRU(d) {
		c.OnLRU++
	}
}

func (c *Counts) plus(o Counts) {
	c.Total += o.Total
	c.Negative += o.Negative
	c.Unused += o.Unused
	c.OnLRU += o.OnLRU
}
