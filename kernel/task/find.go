package task

import "fmt"

// Find collects all threads save the idle tasks: by the list of tasks, and where that
// cannot be followed to its end, by the pid structures too, which lead to the same
// threads. fail is given what could not be read. whole tells that no thread is missing:
// that one of the two ways could be followed everywhere.
func (r *Reader) Find(fail func(error)) (tasks []*Task, whole bool) {
	seen := map[uint64]bool{}
	whole = true
	add := func(t *Task) {
		if !seen[t.Addr] {
			seen[t.Addr] = true
			tasks = append(tasks, t)
		}
	}
	for t, err := range r.All() {
		if err != nil {
			whole = false
			fail(err)
			continue
		}
		add(t)
	}
	if whole {
		return tasks, true
	}
	missed := make(map[uint64]bool, len(tasks)) // by the pid structures
	for _, t := range tasks {
		missed[t.Addr] = true
	}
	whole = true
	for t, err := range r.ByPID() {
		if err != nil {
			whole = false
			fail(fmt.Errorf("pid structures: %w", err))
			continue
		}
		delete(missed, t.Addr)
		add(t)
	}
	return tasks, whole && len(missed) == 0
}
