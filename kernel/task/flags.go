package task

// Bits of Task.Flags that have not changed their meaning since 2.6.32
// (include/linux/sched.h, PF_*).
const (
	flagExiting    = 0x00000004
	flagForkNoExec = 0x00000040
	flagSuperPriv  = 0x00000100
	flagDumpCore   = 0x00000200
	flagSignaled   = 0x00000400
	flagMemAlloc   = 0x00000800
	flagOldFrozen  = 0x00010000 // PF_FROZEN, until 6.0
	flagKthread    = 0x00200000
)

// flagNames are the flags that are named, in the order of their bits.
var flagNames = []struct {
	bit  uint32
	name string
}{
	{flagExiting, "EXITING"}, {flagForkNoExec, "FORKNOEXEC"}, {flagSuperPriv, "SUPERPRIV"}, {flagDumpCore, "DUMPCORE"},
	{flagSignaled, "SIGNALED"}, {flagMemAlloc, "MEMALLOC"}, {flagKthread, "KTHREAD"},
}

// Kthread tells whether the task is a thread of the kernel: it never runs in user
// mode (PF_KTHREAD).
func (t *Task) Kthread() bool { return t.Flags&flagKthread != 0 }

// FlagNames names those of the task's flags whose bits mean the same in all
// releases, without the PF_ that they begin with.
func (t *Task) FlagNames() []string {
	var list []string
	for _, f := range flagNames {
		if t.Flags&f.bit != 0 {
			list = append(list, f.name)
		}
	}
	return list
}
