package task

// Bits of a task's state that do not differ between the releases that have them
// (include/linux/sched.h).
const (
	stateInterruptible   = 0x1
	stateUninterruptible = 0x2
	stateStopped         = 0x4
	stateTraced          = 0x8
	stateParked          = 0x40   // since 4.14; 0x200 from 3.9 to 4.13
	stateNoLoad          = 0x400  // since 4.2
	stateNew             = 0x800  // since 4.8
	stateFrozen          = 0x8000 // since 6.1

	exitFirst, exitSecond = 0x10, 0x20 // EXIT_DEAD and EXIT_ZOMBIE, the other way round before 3.14
)

// Letter is the task's state in one letter: R running or runnable, S sleeping, D
// sleeping and not to be woken by signals, I an idle kernel thread, T stopped, t
// traced, P parked, N new, Z exited. A frozen task has the letter D.
func (t *Task) Letter() string {
	switch s := t.State; {
	case t.ExitState&(exitFirst|exitSecond) != 0:
		return "Z"
	case s&(stateUninterruptible|stateNoLoad) == stateUninterruptible|stateNoLoad:
		return "I"
	case s&stateNew != 0:
		return "N"
	case s&(stateUninterruptible|stateFrozen) != 0:
		return "D"
	case s&stateInterruptible != 0:
		return "S"
	case s&stateStopped != 0:
		return "T"
	case s&stateTraced != 0:
		return "t"
	case s&stateParked != 0:
		return "P"
	}
	return "R"
}
