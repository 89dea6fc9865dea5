package slab

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kmortem/mortem/kernel"
)

// TraceReport is what the kernel log says of allocations in caches whose trace file in
// /sys/kernel/slab was set (SLAB_TRACE, mm/slub.c: trace).
type TraceReport struct {
	Caches   []TracedCache   `json:"caches"`
	Coverage kernel.Coverage `json:"coverage"`
}

// TracedCache is what was traced of one cache.
type TracedCache struct {
	Cache  string `json:"cache"`
	Allocs uint64 `json:"allocs"`
	Frees  uint64 `json:"frees"`
	// Paired are allocations whose object was freed later on in the log.
	Paired uint64 `json:"paired"`
	// Unfreed are objects that were taken and not freed as far as the log goes; Before
	// are frees of objects that were taken before the log begins.
	Unfreed []kernel.Addr `json:"unfreed,omitempty"`
	Before  uint64        `json:"freed_only"`
	Sites   []TraceSite   `json:"sites"` // the most first
}

// TraceSite is one task that took or freed objects by one stack.
type TraceSite struct {
	Event  string   `json:"event"` // alloc or free
	Comm   string   `json:"comm"`
	PID    int32    `json:"pid"`
	Stack  []string `json:"stack"` // functions, the innermost first, without those that are merely on the stack
	Count  uint64   `json:"count"`
	Paired uint64   `json:"paired"` // of its events
}

// The lines of a trace: the event, then for frees the object's bytes, then the task
// and its stack. The task's line changed in 3.10; the pointers are hashed since 4.15.
var (
	reTrace = regexp.MustCompile(`^TRACE (\S+) (alloc|free) (0x[0-9a-f]+|[0-9a-f]{8,16}|\S*\(\S+\))`)
	reTask  = regexp.MustCompile(`^CPU: \d+ (?:UID: \d+ )?PID: (\d+) Comm: (.+?) (?:Not tainted|Tainted)`)
	reOld   = regexp.MustCompile(`^Pid: (\d+), comm: (.+?) (?:Not tainted|Tainted)`)
	reFrame = regexp.MustCompile(`^ *(?:\[<[0-9a-f]+>\] )?(\? )?([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[([\w-]+)[^\]]*\])?$`)
)

// maxTraces bounds what is kept of a log: it cannot hold more.
const maxTraces = 1 << 20

// tracer collects events.
type tracer struct {
	caches map[string]*tracedCache
	cur    *event
	sites  map[string]*TraceSite
	noise  int // lines since the event began that are no part of it
}

type tracedCache struct {
	TracedCache
	open  map[string]*TraceSite // objects that are taken, and by whom
	order []string
}

type event struct {
	cache, kind, object string
	site                TraceSite
	tail                bool // the stack has begun
}

// ReadTrace goes over the lines of a log, as printk.Record.Lines gives them.
func ReadTrace(lines func(yield func(string) bool)) *TraceReport {
	t := &tracer{caches: make(map[string]*tracedCache), sites: make(map[string]*TraceSite)}
	n := uint64(0)
	for line := range lines {
		n++
		t.line(line)
	}
	t.finish()
	r := &TraceReport{Caches: []TracedCache{}, Coverage: kernel.Coverage{Read: n}}
	for _, c := range t.caches {
		r.Caches = append(r.Caches, c.result(t.sites))
	}
	slices.SortFunc(r.Caches, func(a, b TracedCache) int {
		return cmp.Or(cmp.Compare(b.Allocs+b.Frees, a.Allocs+a.Frees), cmp.Compare(a.Cache, b.Cache))
	})
	return r
}

// maxNoise is how many lines of something else may come between those of one event
// before it ends: other processors write to the log as well.
const maxNoise = 40

func (t *tracer) line(line string) {
	if m := reTrace.FindStringSubmatch(line); m != nil {
		t.finish()
		t.cur, t.noise = &event{cache: m[1], kind: m[2], object: m[3]}, 0
		t.cur.site.Event = m[2]
		return
	}
	e := t.cur
	if e == nil {
		return
	}
	m := reTask.FindStringSubmatch(line)
	if m == nil {
		m = reOld.FindStringSubmatch(line)
	}
	if m != nil && e.site.Comm == "" {
		pid, _ := strconv.ParseInt(m[1], 10, 32)
		e.site.PID, e.site.Comm = int32(pid), m[2]
		return
	}
	if m := reFrame.FindStringSubmatch(line); m != nil && e.site.Comm != "" {
		e.tail = true
		if name := m[2]; m[1] == "" && !tracing(name) && len(e.site.Stack) < 64 {
			if m[3] != "" {
				name += " [" + m[3] + "]"
			}
			e.site.Stack = append(e.site.Stack, name)
		}
		return
	}
	switch text := strings.TrimSpace(line); {
	case e.tail && text != "<TASK>" && text != "<IRQ>" && text != "</IRQ>" && text != "<EOI>" && text != "<EOE>":
		t.finish() // what comes behind a stack ends it
	default:
		if t.noise++; t.noise > maxNoise {
			t.finish()
		}
	}
}

// tracing tells whether a function of a stack belongs to the trace itself.
func tracing(name string) bool {
	for _, prefix := range []string{"dump_stack", "show_stack", "trace", "alloc_debug_processing", "free_debug_processing", "object_err"} {
		if name == prefix || strings.HasPrefix(name, prefix+".") || strings.HasPrefix(name, prefix+"_lvl") {
			return true
		}
	}
	return false
}

// finish takes the event over that was being read.
func (t *tracer) finish() {
	e := t.cur
	if t.cur = nil; e == nil {
		return
	}
	c := t.caches[e.cache]
	if c == nil {
		if len(t.caches) == maxCachesTraced {
			return
		}
		c = &tracedCache{TracedCache: TracedCache{Cache: e.cache}, open: make(map[string]*TraceSite)}
		t.caches[e.cache] = c
	}
	key := strings.Join(append([]string{e.cache, e.kind, strconv.Itoa(int(e.site.PID)), e.site.Comm}, e.site.Stack...), "\x00")
	s := t.sites[key]
	if s == nil {
		if len(t.sites) == maxTraces {
			return
		}
		s = &e.site
		t.sites[key] = s
	}
	s.Count++
	c.count(e, s)
}

const maxCachesTraced = 1 << 12

func (c *tracedCache) count(e *event, s *TraceSite) {
	if e.kind == "alloc" {
		c.Allocs++
		if _, again := c.open[e.object]; !again {
			c.order = append(c.order, e.object)
		}
		c.open[e.object] = s
		return
	}
	c.Frees++
	by, ok := c.open[e.object]
	if !ok {
		c.Before++
		return
	}
	delete(c.open, e.object)
	c.Paired++
	by.Paired++
	s.Paired++
}

func (c *tracedCache) result(sites map[string]*TraceSite) TracedCache {
	out := c.TracedCache
	for _, object := range c.order {
		if _, open := c.open[object]; !open {
			continue
		}
		if addr, err := strconv.ParseUint(strings.TrimPrefix(object, "0x"), 16, 64); err == nil {
			if !slices.Contains(out.Unfreed, kernel.Addr(addr)) {
				out.Unfreed = append(out.Unfreed, kernel.Addr(addr))
			}
		}
	}
	out.Sites = []TraceSite{}
	for key, s := range sites {
		if cache, _, _ := strings.Cut(key, "\x00"); cache == out.Cache {
			out.Sites = append(out.Sites, *s)
		}
	}
	slices.SortFunc(out.Sites, func(a, b TraceSite) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Event, b.Event), cmp.Compare(a.PID, b.PID), slices.Compare(a.Stack, b.Stack))
	})
	return out
}
