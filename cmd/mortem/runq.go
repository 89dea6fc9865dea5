package main

import (
	"fmt"
	"time"

	"github.com/kmortem/mortem/analysis/tasks"
)

// printQueues prints the run queues, by processor.
func printQueues(w *printer, r *tasks.Report) {
	for i := range r.Queues {
		q := &r.Queues[i]
		if i > 0 {
			w.line("")
		}
		w.line("CPU %d  RUNQUEUE %016x  %d want to run, clock %v", q.CPU, uint64(q.Addr), q.Running, time.Duration(q.Clock))
		printQueued(w, "current", []tasks.Queued{q.Current})
		if q.Stopper != nil {
			printQueued(w, "stopper", []tasks.Queued{*q.Stopper})
		}
		printQueued(w, "deadline", q.Deadline)
		printQueued(w, "real-time", q.RealTime)
		if q.RTThrottled {
			w.line("    real-time tasks are throttled: %v of %v used", time.Duration(q.RTTime), time.Duration(q.RTRuntime))
		}
		printQueued(w, "fair", q.Fair)
	}
}

func printQueued(w *printer, class string, list []tasks.Queued) {
	for i := range list {
		t := &list[i]
		note := ""
		switch {
		case class == "deadline":
			note = fmt.Sprintf("  deadline at %v", time.Duration(t.Deadline))
		case t.Delayed:
			note = "  sleeps, dequeued later"
		case t.Current:
			note = "  runs"
		}
		w.line("    %-10s %5s %7d  %016x  %s  %s%s", class, fmt.Sprintf("[%d]", t.Prio), t.PID, uint64(t.Addr), t.State, t.Comm, note)
	}
}

// printGroups prints the groups with a quota, and where they are throttled.
func printGroups(w *printer, r *tasks.Report) {
	for i := range r.Groups {
		g := &r.Groups[i]
		w.line("")
		quota := "no quota of its own"
		if g.Limited {
			quota = fmt.Sprintf("%v in each %v", time.Duration(g.Quota), time.Duration(g.Period))
		}
		state := "not throttled"
		if g.Throttled {
			state = "THROTTLED"
		}
		w.line("GROUP %s  %016x  %s: %s", orUnknown(g.Path), uint64(g.Addr), quota, state)
		w.line("    throttled in %d of %d periods, for %v in all; %v of the quota left", g.Throttles, g.Periods, time.Duration(g.Time), time.Duration(g.Left))
		for k := range g.Queues {
			q := &g.Queues[k]
			state := "not throttled"
			switch {
			case q.Throttled && q.Ago != nil:
				state = fmt.Sprintf("throttled for %v", time.Duration(*q.Ago))
			case q.Throttled:
				state = "throttled"
			case q.Depth > 0:
				state = "throttled by a group above"
			}
			w.line("  CPU %d  CFS_RQ %016x  %s, runtime_remaining %d ns", q.CPU, uint64(q.Addr), state, q.Remaining)
			printQueued(w, "fair", q.Tasks)
		}
	}
}
