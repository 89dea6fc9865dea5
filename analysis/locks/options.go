package locks

// Options choose what is told.
type Options struct {
	// Tasks are thread ids, or addresses of task_structs; Locks are addresses of
	// locks or of the objects that they are part of, or variables. Where any are
	// given, only these are told of, with whom they wait for and who waits for
	// them.
	Tasks, Locks []string
	// Stacks is how many root blockers are told with their stacks: 0 for 50, less
	// for none.
	Stacks int
	// Interruptible takes in tasks that sleep interruptibly on wait queues and
	// futexes, as most tasks of a healthy machine do.
	Interruptible bool
	// NoSuspects leaves out holders that would have to be inferred.
	NoSuspects bool
}

const defaultStacks = 50
