package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progress shows on a terminal how far long work is. Elsewhere it is silent.
type progress struct {
	mu    sync.Mutex
	out   io.Writer // nil where nothing is shown
	what  string
	start time.Time
	last  time.Time
	shown bool
}

// patience is how long work may take before it is worth a progress line.
const patience = time.Second

func (a *app) progress(what string) *progress {
	p := &progress{what: what, start: time.Now()}
	if f, ok := a.stderr.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			p.out = f
		}
	}
	return p
}

// update says that done of total parts are done. It may be called from many
// goroutines.
func (p *progress) update(done, total int) {
	if total > 0 {
		p.show("%d %%", 100*done/total)
	}
}

// updateBytes is update for bytes, whose total may not be known.
func (p *progress) updateBytes(done, total int64) {
	if total > 0 {
		p.show("%d %% of %s", 100*done/total, byteSize(uint64(total)))
	} else {
		p.show("%s", byteSize(uint64(done)))
	}
}

// show shows how far it is, unless it has only just begun or was shown a moment
// ago.
func (p *progress) show(format string, args ...any) {
	if p.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.start) < patience || now.Sub(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s: %s", p.what, fmt.Sprintf(format, args...))
}

// done wipes the line.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K")
	}
}
