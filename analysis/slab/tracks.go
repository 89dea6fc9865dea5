package slab

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/stackdepot"
	"github.com/kmortem/mortem/kernel/task"
)

// TrackReport says who took the live objects of a cache, and who freed the free ones,
// by SLUB's own records (slub_debug=U).
type TrackReport struct {
	Cache    string          `json:"cache"`
	Live     uint64          `json:"live"`
	Free     uint64          `json:"free"`
	Allocs   []Site          `json:"allocated_by"` // of the live objects, the most first
	Frees    []Site          `json:"freed_by"`     // of the free objects
	Coverage kernel.Coverage `json:"coverage"`
}

// Site is one stack that took or freed objects.
type Site struct {
	Function string   `json:"function"` // that asked; "" where there is no record
	Stack    []string `json:"stack,omitempty"`
	Count    uint64   `json:"count"`
	// Ages are how long ago, in jiffies: the youngest, the mean and the oldest.
	MinAge  uint64      `json:"age_min_jiffies"`
	MeanAge uint64      `json:"age_mean_jiffies"`
	MaxAge  uint64      `json:"age_max_jiffies"`
	Tasks   []SiteTask  `json:"tasks"` // the most first
	CPUs    []int32     `json:"cpus"`
	Sample  kernel.Addr `json:"sample"` // one of the objects

	ages uint64 // their sum
}

// SiteTask is a task of a site. Its name is that of the task with that number in the
// dump; the record has the number only.
type SiteTask struct {
	PID   int32  `json:"pid"`
	Comm  string `json:"comm,omitempty"`
	Count uint64 `json:"count"`
}

// maxSites and maxSiteTasks bound what is kept; the kernel's own tables are shorter.
const (
	maxSites     = 1 << 16
	maxSiteTasks = 1 << 10
)

// tracks is the work on one cache.
type tracks struct {
	k     *kernel.Kernel
	t     *slab.Tracker
	depot *stackdepot.Depot // nil where there is none
	now   uint64
	comms map[int32]string
	r     *TrackReport
}

// siteKey tells sites apart: by the handle of the stack, or a hash of it.
type siteKey struct{ addr, stack uint64 }

// Tracks reads the records of all objects of a cache. The error wraps
// slab.ErrNoTracks where there are none.
func Tracks(ctx context.Context, s *slab.Allocations, c *slab.Cache) (*TrackReport, error) {
	tracker, err := c.Tracks()
	if err != nil {
		return nil, err
	}
	w := &tracks{k: s.Kernel(), t: tracker, comms: make(map[int32]string),
		r: &TrackReport{Cache: c.Name, Allocs: []Site{}, Frees: []Site{}, Coverage: s.Kernel().NewCoverage()}}
	w.depot, _ = stackdepot.Open(w.k) // without it sites have no stacks
	w.readNow()
	w.readComms()
	allocs, frees := make(map[siteKey]*Site), make(map[siteKey]*Site)
	err = eachSlab(ctx, s, c, &w.r.Coverage, func(sl *slab.Slab, d *slab.Decoder, mem []byte) bool {
		for i := range sl.Objects {
			at := sl.Offset(i)
			if at+c.Size > len(mem) {
				break // told by the coverage
			}
			object := mem[at : at+c.Size]
			if d.IsFree(i) {
				w.r.Free++
				w.add(frees, tracker.Free(object), tracker.FreeStack(object), sl.Object(i))
			} else {
				w.r.Live++
				w.add(allocs, tracker.Alloc(object), tracker.AllocStack(object), sl.Object(i))
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	w.r.Allocs, w.r.Frees = w.finish(allocs), w.finish(frees)
	return w.r, nil
}

// readNow reads the clock that records are stamped by.
func (w *tracks) readNow() {
	for _, name := range []string{"jiffies_64", "jiffies"} {
		if at, err := w.k.Symbol(name); err == nil {
			if w.now, err = w.k.Uint64(at); err == nil {
				return
			}
			w.r.Coverage.Fail(fmt.Errorf("%s: %w", name, err))
		}
	}
}

func (w *tracks) readComms() {
	tasks, err := task.New(w.k)
	if err != nil {
		return // numbers will do
	}
	all, _ := tasks.Find(func(error) {}) // whom it cannot name it gives by number
	for _, t := range all {
		w.comms[t.PID] = t.Comm
	}
}

func (w *tracks) add(sites map[siteKey]*Site, t slab.Track, stack []uint64, object uint64) {
	key := siteKey{addr: t.Addr, stack: uint64(t.Handle)}
	for _, addr := range stack {
		key.stack = key.stack*0x9e3779b97f4a7c15 + addr
	}
	s := sites[key]
	if s == nil {
		if len(sites) == maxSites {
			return
		}
		s = &Site{MinAge: ^uint64(0), Sample: kernel.Addr(object), Tasks: []SiteTask{}, CPUs: []int32{}}
		w.describe(s, t, stack)
		sites[key] = s
	}
	s.Count++
	if t.Addr == 0 {
		return
	}
	age := w.now - min(w.now, t.When)
	s.MinAge, s.MaxAge, s.ages = min(s.MinAge, age), max(s.MaxAge, age), s.ages+age
	if !slices.Contains(s.CPUs, t.CPU) && len(s.CPUs) < maxSiteTasks {
		s.CPUs = append(s.CPUs, t.CPU)
	}
	i := slices.IndexFunc(s.Tasks, func(o SiteTask) bool { return o.PID == t.PID })
	if i < 0 {
		if len(s.Tasks) == maxSiteTasks {
			return
		}
		s.Tasks, i = append(s.Tasks, SiteTask{PID: t.PID, Comm: w.comms[t.PID]}), len(s.Tasks)
	}
	s.Tasks[i].Count++
}

// describe names the functions of a site.
func (w *tracks) describe(s *Site, t slab.Track, stack []uint64) {
	if t.Addr != 0 {
		s.Function = w.k.SymbolName(t.Addr)
	}
	if w.depot != nil && t.Handle != 0 {
		var err error
		if stack, err = w.depot.Stack(t.Handle); err != nil {
			w.r.Coverage.Fail(err)
		}
	}
	for _, addr := range stack {
		s.Stack = append(s.Stack, w.k.SymbolName(addr))
	}
}

func (w *tracks) finish(sites map[siteKey]*Site) []Site {
	list := []Site{}
	for _, s := range sites {
		if s.MinAge == ^uint64(0) {
			s.MinAge = 0
		}
		s.MeanAge = s.ages / max(1, s.Count)
		slices.Sort(s.CPUs)
		slices.SortFunc(s.Tasks, func(a, b SiteTask) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.PID, b.PID)) })
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b Site) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Function, b.Function), cmp.Compare(a.Sample, b.Sample))
	})
	return list
}
