package lock

import "strings"

// role is what a function has to do with a wait.
type role uint8

const (
	roleNone  role = iota
	roleWait       // a sleeper for a lock of the kind is in it
	roleSpin       // a processor spins in it
	roleMeans      // the wait that it makes is really for the kind, whatever it sleeps on
	roleSched      // of the scheduler and of timers: not worth naming
)

// class is what a function's name says.
type class struct {
	role role
	kind Kind
	mode Mode
	// argument tells that the function's first argument is the lock.
	argument bool
}

// classes are the functions of the kernel that wait, by name. The names are those
// of kernel/locking, kernel/sched, kernel/rcu, fs and mm from 2.6.32 on.
var classes = map[string]class{}

func enter(c class, names ...string) {
	for _, n := range names {
		classes[n] = c
	}
}

func init() {
	enter(class{role: roleSched}, "__schedule", "schedule", "schedule_preempt_disabled", "schedule_timeout",
		"schedule_timeout_uninterruptible", "schedule_timeout_killable", "schedule_timeout_interruptible", "io_schedule",
		"io_schedule_timeout", "schedule_idle", "schedule_rtlock", "preempt_schedule", "preempt_schedule_common", "preempt_schedule_irq",
		"preempt_schedule_notrace", "schedule_hrtimeout_range", "schedule_hrtimeout_range_clock", "schedule_hrtimeout",
		"thread_return", "__cond_resched", "_cond_resched", "cond_resched", "__switch_to", "context_switch",
		"bit_wait", "bit_wait_io", "bit_wait_timeout", "sleep_on_page", "sleep_on_buffer", "sync_page", "sync_buffer",
		"ret_from_fork", "ret_from_fork_asm",
		// These take a lock for their callers.
		"__cond_resched_lock", "_atomic_dec_and_lock", "atomic_dec_and_lock", "_atomic_dec_and_lock_irqsave", "refcount_dec_and_lock",
		"refcount_dec_and_lock_irqsave")
	sleepers()
	spinners()
	meanings()
}

func sleepers() {
	enter(class{role: roleWait, kind: Mutex, argument: true}, "__mutex_lock", "__mutex_lock_slowpath", "mutex_lock",
		"mutex_lock_interruptible", "mutex_lock_killable", "mutex_lock_io", "mutex_lock_nested", "mutex_lock_interruptible_nested",
		"mutex_lock_killable_nested", "_mutex_lock_nest_lock", "__mutex_lock_common", "__mutex_lock_killable_slowpath",
		"__mutex_lock_interruptible_slowpath", "mutex_lock_io_nested", "_mutex_lock_killable")
	enter(class{role: roleWait, kind: WWMutex, argument: true}, "__ww_mutex_lock", "ww_mutex_lock", "ww_mutex_lock_interruptible",
		"__ww_mutex_lock_slowpath", "__ww_mutex_lock_interruptible_slowpath", "ww_mutex_lock_slow")
	enter(class{role: roleWait, kind: RWSem, mode: Read, argument: true}, "rwsem_down_read_slowpath", "rwsem_down_read_failed",
		"rwsem_down_read_failed_killable", "__rwsem_down_read_failed_common", "down_read", "down_read_killable",
		"down_read_interruptible", "__down_read", "down_read_nested", "down_read_killable_nested", "__down_read_common")
	enter(class{role: roleWait, kind: RWSem, mode: Write, argument: true}, "rwsem_down_write_slowpath", "rwsem_down_write_failed",
		"rwsem_down_write_failed_killable", "__rwsem_down_write_failed_common", "down_write", "down_write_killable",
		"__down_write", "__down_write_nested", "down_write_nested", "down_write_killable_nested", "__down_write_common")
	enter(class{role: roleWait, kind: RWSem}, "rwsem_down_failed_common", "call_rwsem_down_read_failed", "call_rwsem_down_write_failed")
	enter(class{role: roleWait, kind: Semaphore, argument: true}, "__down", "__down_interruptible", "__down_killable", "__down_timeout",
		"down", "down_interruptible", "down_killable", "down_timeout", "___down_common", "__down_common")
	enter(class{role: roleWait, kind: PercpuRWSem, mode: Read}, "percpu_rwsem_wait", "__percpu_down_read", "percpu_down_read")
	enter(class{role: roleWait, kind: PercpuRWSem, mode: Write, argument: true}, "percpu_down_write")
	enter(class{role: roleWait, kind: Completion}, "wait_for_completion", "__wait_for_common", "wait_for_common", "do_wait_for_common",
		"wait_for_completion_timeout", "wait_for_completion_io", "wait_for_completion_io_timeout", "wait_for_completion_interruptible",
		"wait_for_completion_interruptible_timeout", "wait_for_completion_killable", "wait_for_completion_killable_timeout",
		"wait_for_completion_state", "wait_for_common_io", "__wait_for_completion")
	enter(class{role: roleWait, kind: BitLock}, "__wait_on_bit", "__wait_on_bit_lock", "out_of_line_wait_on_bit",
		"out_of_line_wait_on_bit_lock", "out_of_line_wait_on_bit_timeout", "wait_on_bit", "wait_on_bit_lock", "wait_on_bit_io")
	enter(class{role: roleWait, kind: FolioLock}, "__folio_lock", "__folio_lock_killable", "__lock_page", "__lock_page_killable",
		"lock_page", "folio_lock", "__folio_lock_or_retry", "__lock_page_or_retry", "folio_wait_bit_common", "folio_wait_bit",
		"folio_wait_bit_killable", "wait_on_page_bit_common", "wait_on_page_bit", "wait_on_page_bit_killable", "folio_put_wait_locked")
	enter(class{role: roleWait, kind: Writeback}, "folio_wait_writeback", "folio_wait_writeback_killable", "folio_wait_stable",
		"wait_on_page_writeback")
	enter(class{role: roleWait, kind: BufferLock}, "__lock_buffer", "__wait_on_buffer", "lock_buffer", "wait_on_buffer")
	enter(class{role: roleWait, kind: WaitQueue}, "prepare_to_wait_event", "wait_woken", "do_wait_intr", "do_wait_intr_irq")
}

func spinners() {
	enter(class{role: roleSpin, kind: Spinlock, argument: true}, "queued_spin_lock_slowpath", "native_queued_spin_lock_slowpath",
		"__pv_queued_spin_lock_slowpath", "_raw_spin_lock", "_raw_spin_lock_irq", "_raw_spin_lock_irqsave", "_raw_spin_lock_bh",
		"_spin_lock", "_spin_lock_irq", "_spin_lock_irqsave", "_spin_lock_bh", "__raw_spin_lock", "__ticket_spin_lock",
		"__ticket_spin_lock_flags", "_raw_spin_lock_nested", "_raw_spin_lock_irqsave_nested", "virt_spin_lock", "do_raw_spin_lock",
		"native_pv_lock_init", "ticket_spin_lock", "__spin_lock", "xen_spin_lock_slow", "xen_spin_lock", "kvm_lock_spinning", "__raw_callee_save___ticket_spin_lock")
	enter(class{role: roleSpin, kind: RWLock, mode: Read, argument: true}, "queued_read_lock_slowpath", "queue_read_lock_slowpath",
		"_raw_read_lock", "_raw_read_lock_irq", "_raw_read_lock_irqsave", "_raw_read_lock_bh", "_read_lock", "_read_lock_irq",
		"_read_lock_irqsave", "_read_lock_bh", "__read_lock_failed")
	enter(class{role: roleSpin, kind: RWLock, mode: Write, argument: true}, "queued_write_lock_slowpath", "queue_write_lock_slowpath",
		"_raw_write_lock", "_raw_write_lock_irq", "_raw_write_lock_irqsave", "_raw_write_lock_bh", "_write_lock", "_write_lock_irq",
		"_write_lock_irqsave", "_write_lock_bh", "__write_lock_failed", "_raw_write_lock_nested")
	// Optimistic spinners: the lock is that of the function that calls them.
	enter(class{role: roleSpin, kind: Mutex}, "mutex_spin_on_owner", "mutex_optimistic_spin")
	enter(class{role: roleSpin, kind: RWSem, mode: Write}, "rwsem_spin_on_owner", "rwsem_optimistic_spin")
	enter(class{role: roleSpin}, "kvm_wait", "pv_wait", "pv_wait_node", "pv_wait_head_or_lock", "xen_qlock_wait", "osq_lock", "osq_wait_next", "mspin_lock", "mcs_spin_lock")
	enter(class{role: roleSpin, kind: BitLock, argument: true}, "bit_spin_lock")
	enter(class{role: roleSpin, kind: HlistBL, argument: true}, "hlist_bl_lock")
}

func meanings() {
	enter(class{role: roleMeans, kind: RCU}, "synchronize_rcu", "synchronize_sched", "synchronize_rcu_bh", "synchronize_rcu_normal",
		"synchronize_net", "__wait_rcu_gp", "wait_rcu_gp", "_wait_rcu_gp", "synchronize_rcu_expedited", "synchronize_sched_expedited",
		"synchronize_rcu_expedited_wait_once", "synchronize_rcu_expedited_wait", "rcu_barrier", "_rcu_barrier", "cond_synchronize_rcu",
		"synchronize_kernel", "rcu_exp_wait_wake")
	enter(class{role: roleMeans, kind: SRCU, argument: true}, "synchronize_srcu", "__synchronize_srcu", "synchronize_srcu_expedited",
		"srcu_barrier", "try_check_zero")
	enter(class{role: roleMeans, kind: Work, argument: true}, "flush_work", "__flush_work", "__cancel_work_timer", "cancel_work_sync",
		"__cancel_work_sync", "cancel_delayed_work_sync", "flush_delayed_work", "start_flush_work", "flush_rcu_work")
	enter(class{role: roleMeans, kind: Workqueue, argument: true}, "flush_workqueue", "__flush_workqueue", "drain_workqueue",
		"flush_cpu_workqueue")
	enter(class{role: roleMeans, kind: Pipe}, "pipe_read", "pipe_write", "pipe_wait", "pipe_wait_readable", "pipe_wait_writable",
		"wait_for_partner", "fifo_open", "anon_pipe_read", "anon_pipe_write")
	enter(class{role: roleMeans, kind: Flock}, "locks_lock_inode_wait", "flock_lock_inode_wait", "flock_lock_file_wait",
		"locks_lock_file_wait", "fcntl_setlk", "do_lock_file_wait", "posix_lock_inode_wait", "posix_lock_file_wait", "__break_lease",
		"fcntl_setlk64")
	enter(class{role: roleMeans, kind: Futex}, "futex_wait_queue", "futex_wait_queue_me", "futex_do_wait", "futex_wait", "__futex_wait",
		"futex_lock_pi", "futex_wait_requeue_pi")
}

// strip takes off what the compiler adds to names.
func strip(name string) string {
	if i := strings.IndexByte(name, '.'); i > 0 {
		name = name[:i]
	}
	return name
}

func classOf(name string) (class, bool) {
	c, ok := classes[strip(name)]
	return c, ok
}
