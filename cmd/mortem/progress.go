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
	if p.out == nil || total <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.start) < patience || now.Sub(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	_, _ = fmt.Fprintf(p.out, "\r%s: %d %%", p.what, 100*done/total)
}

// done wipes the line.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K")
	}
}
