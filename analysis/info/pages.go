package info

import (
	"context"
	"errors"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
)

const defaultBad = 1000

// pages counts the pages, and reads them all where that is asked for.
func (r *Report) pages(ctx context.Context, img dump.Image, opt Options) error {
	if opt.SkipPages && opt.Verify == 0 {
		return nil
	}
	limit := opt.Bad
	if limit == 0 {
		limit = defaultBad
	}
	p := &Pages{Bad: []BadPage{}, Verified: opt.Verify > 0}
	var st *dump.Stats
	var err error
	if p.Verified {
		st, err = dump.Verify(ctx, img, dump.VerifyOptions{Workers: opt.Verify, Progress: opt.Progress, Report: func(e *dump.ReadError) error {
			if len(p.Bad) < limit {
				p.Bad = append(p.Bad, badPage(e))
			} else {
				p.MoreBad++
			}
			return nil
		}})
	} else {
		st, err = dump.Stat(ctx, img)
	}
	if err != nil {
		return err
	}
	p.Present, p.Excluded, p.Missing, p.Damaged = st.Present, st.Excluded, st.Missing, st.Damaged
	p.Zero, p.Packed = st.Zero, st.Packed
	if st.Codecs != nil {
		p.Codecs = make(map[string]uint64, len(st.Codecs))
		for c, n := range st.Codecs {
			p.Codecs[c.String()] = n
		}
	}
	r.Pages = p
	return nil
}

func badPage(e *dump.ReadError) BadPage {
	b := BadPage{Addr: kernel.Addr(e.Addr), Kind: "missing", File: cstr.Show([]byte(e.File)), Offset: e.Offset}
	if errors.Is(e, dump.ErrCorrupt) {
		b.Kind = "damaged"
	}
	why := e.Kind
	if e.Err != nil {
		why = e.Err
	}
	b.Why = cstr.Show([]byte(why.Error()))
	return b
}
