package locks

// RootOf says for each task of the graph which of Roots its waiting ends at, which may
// be itself; -1 for those that wait for none. Of several holders of a lock the surest
// is followed.
func (r *Report) RootOf() []int {
	tasks, locks := len(r.Graph.Tasks), len(r.Graph.Locks)
	next, root := make([]int, tasks+locks), make([]int, tasks+locks) // tasks, then locks
	for i := range next {
		next[i], root[i] = -1, -1
	}
	for i := range r.Roots {
		for _, t := range r.Roots[i].Tasks {
			root[t.Index] = i
		}
		if r.Roots[i].Kind == RootLock {
			root[tasks+r.Roots[i].Locks[0].Index] = i
		}
	}
	for i := range r.Graph.Waits {
		next[r.Graph.Waits[i].Task] = tasks + r.Graph.Waits[i].Lock
	}
	best := make([]int, locks)
	for i := range r.Graph.Holds {
		h := &r.Graph.Holds[i]
		at := tasks + h.Lock
		if sure := int(sureOf(h.Sure, h.Method)); next[at] < 0 || sure < best[h.Lock] {
			next[at], best[h.Lock] = h.Task, sure
		}
	}
	const unknown, none = -1, -2
	var path []int
	for i := range next {
		path = path[:0]
		at := i
		for at >= 0 && root[at] == unknown {
			root[at] = none // also where it leads in a circle that is no root
			path = append(path, at)
			at = next[at]
		}
		end := none
		if at >= 0 {
			end = root[at]
		}
		for _, n := range path {
			root[n] = end
		}
	}
	out := root[:tasks]
	for i, n := range out {
		if n == none {
			out[i] = -1
		}
	}
	return out
}

// Behind is how many tasks wait for a task of the graph, directly or through others.
func (r *Report) Behind(task int) int {
	if r.behind == nil {
		return 0
	}
	return r.behind(task)
}
