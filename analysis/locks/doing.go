package locks

import (
	"strings"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/kernel/lock"
)

// activity is what functions on a stack tell of what a task is doing.
type activity struct {
	what      string
	functions []string // names, or beginnings of names where they end in *
}

// activities are tried in this order, each from the innermost function outwards: what
// a task does for memory may end in I/O, and that is why it does it. Names of all
// releases from 2.6.32 on.
var activities = []activity{
	{"waits for memory: direct reclaim", []string{"try_to_free_pages", "__alloc_pages_direct_reclaim", "try_to_free_mem_cgroup_pages",
		"mem_cgroup_do_reclaim", "throttle_direct_reclaim", "reclaim_throttle", "too_many_isolated", "__alloc_pages_direct_compact", "out_of_memory", "mem_cgroup_oom_synchronize"}},
	{"is throttled: too much dirty memory", []string{"balance_dirty_pages*", "throttle_vm_writeout"}},
	{"shrinks the dentry cache", []string{"__shrink_dcache_sb*", "prune_dcache_sb", "shrink_dcache_sb", "shrink_dcache_memory", "shrink_dcache_parent", "shrink_dentry_list"}},
	{"shrinks the inode cache", []string{"prune_icache_sb", "prune_icache", "shrink_icache_memory"}},
	{"reclaims memory", []string{"shrink_slab*", "shrink_node*", "shrink_zone*", "balance_pgdat"}},
	{"waits for I/O by the network (RPC)", []string{"rpc_wait_bit_killable", "__rpc_execute", "nfs_wait_bit_killable", "rpc_run_task"}},
	{"waits for swap", []string{"swap_readpage", "swapin_readahead", "do_swap_page"}},
	{"waits for the journal", []string{"jbd2_log_wait_commit", "jbd2_journal_commit_transaction", "start_this_handle", "log_wait_commit", "xlog_grant_head_wait", "_xfs_log_force*", "xlog_wait*"}},
	{"waits for I/O", []string{"io_schedule*", "sleep_on_page", "sleep_on_buffer", "bit_wait_io*", "blk_execute_rq", "submit_bio_wait",
		"submit_bio_noacct_nocheck", "get_request_wait", "blk_mq_get_tag", "rq_qos_wait", "wait_on_page_writeback", "folio_wait_writeback", "wait_on_page_bit*", "folio_wait_bit*", "wait_for_completion_io*", "scsi_execute*", "__wait_on_buffer"}},
	{"waits for a device to answer", []string{"usb_start_wait_urb", "ata_exec_internal*", "nvme_submit_sync_cmd", "virtqueue_get_buf_spin*", "synchronize_irq", "firmware_request_*", "request_firmware*"}},
	{"waits for the other processors", []string{"smp_call_function_many*", "smp_call_function_single", "on_each_cpu*", "flush_tlb_*", "native_flush_tlb_*", "stop_machine*", "stop_cpus", "__stop_cpus"}},
	{"waits for an RCU grace period", []string{"synchronize_rcu*", "synchronize_sched", "synchronize_srcu*", "__synchronize_srcu", "__wait_rcu_gp", "rcu_barrier*", "wait_rcu_gp"}},
	{"waits for a work item", []string{"flush_work*", "__flush_work*", "flush_workqueue", "__flush_workqueue", "drain_workqueue", "cancel_work_sync", "__cancel_work_timer"}},
	{"waits for a thread to stop", []string{"kthread_stop", "kthread_park"}},
	{"waits for a child", []string{"do_wait", "wait_for_vfork_done", "coredump_wait"}},
	{"waits for user space: a helper program", []string{"call_usermodehelper*"}},
	{"waits for user space: FUSE", []string{"request_wait_answer", "fuse_simple_request", "__fuse_simple_request", "fuse_request_send"}},
	{"waits for a futex in user space", []string{"futex_wait*", "do_futex", "futex_lock_pi"}},
	{"waits for the network", []string{"sk_wait_data", "tcp_recvmsg*", "tcp_sendmsg*", "inet_csk_accept", "__skb_wait_for_more_packets", "unix_stream_read*", "skb_recv_datagram", "sk_stream_wait_memory"}},
	{"waits for input or events", []string{"ep_poll", "do_epoll_wait", "do_select", "do_sys_poll", "do_poll*", "pipe_read", "pipe_wait*", "n_tty_read", "do_signalfd*", "eventfd_read", "inotify_read", "io_cqring_wait"}},
	{"waits for room in a pipe", []string{"pipe_write"}},
	{"sleeps for a time that it chose", []string{"do_nanosleep", "hrtimer_nanosleep", "msleep*", "usleep_range*", "schedule_hrtimeout*", "common_nsleep*", "schedule_timeout_uninterruptible", "schedule_timeout_interruptible", "schedule_timeout_killable", "schedule_timeout_idle"}},
	{"is frozen", []string{"__refrigerator", "refrigerator", "cgroup_enter_frozen"}},
	{"waits for a signal", []string{"sigsuspend", "do_sigtimedwait", "sys_pause", "__x64_sys_pause", "__do_sys_pause", "ptrace_stop*", "do_signal_stop"}},
	{"exits", []string{"do_exit", "make_task_dead"}},
}

// idle is a kernel thread that has nothing to do: only where nothing but the scheduler
// is called from these.
var idle = activity{"waits for work", []string{"worker_thread", "kthreadd", "smpboot_thread_fn", "rescuer_thread", "kthread_worker_fn", "kswapd", "kswapd_try_to_sleep",
	"kauditd_thread", "khugepaged", "kjournald2", "jbd2_journal_commit_timeout", "xfsaild", "loop_thread", "md_thread"}}

// matches tells whether a function is one of an activity's. Endings that compilers
// add are left out.
func (a *activity) matches(function string) bool {
	name, _, _ := strings.Cut(function, ".")
	for _, want := range a.functions {
		if prefix, open := strings.CutSuffix(want, "*"); name == want || open && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Describe tells what a task was doing by its state and its stack, which is nil where
// it is not known.
func Describe(t *lock.Task, s *stacks.Stack) *Doing {
	d := &Doing{Function: t.Doing}
	if t.Unread {
		d.What = "what it does is not known"
		return d
	}
	if t.Gone != "" {
		d.What = "gone: " + t.Gone
		return d
	}
	var frames []stacks.Frame
	if s != nil {
		frames, d.End = s.Frames, s.End
		d.Stack = frameList(s)
	}
	what, function := byStack(frames)
	if d.Function == "" {
		d.Function = function
	}
	inUser := s != nil && len(frames) == 0 && s.End == "user mode"
	switch {
	case t.Running && inUser:
		d.What = "runs in user mode"
	case t.Running && what != "" && (strings.HasPrefix(what, "reclaims") || strings.HasPrefix(what, "shrinks") || strings.HasPrefix(what, "waits for memory")):
		d.What = "runs: " + what
	case t.Running:
		d.What = "runs in the kernel"
	case t.State == "R":
		d.What = "could run, and waits for a processor"
	case t.State == "T" || t.State == "t":
		d.What = map[string]string{"T": "is stopped by a signal", "t": "is stopped by a debugger"}[t.State]
	case t.State == "Z" || t.State == "X":
		d.What = "has exited"
	case what != "":
		d.What, d.Function = what, function
	case len(frames) == 0 && t.Doing == "":
		d.What = "sleeps; its stack is not known"
	default:
		d.What = "sleeps"
	}
	return d
}

func byStack(frames []stacks.Frame) (what, function string) {
	for j := range frames {
		if f := &frames[j]; f.Function != "" && !Scheduler(f.Function) {
			if idle.matches(f.Function) {
				return idle.what, f.Function
			}
			break
		}
	}
	for i := range activities {
		for j := range frames {
			if f := &frames[j]; f.Confidence != "suspected" && activities[i].matches(f.Function) {
				return activities[i].what, f.Function
			}
		}
	}
	for j := range frames {
		if f := &frames[j]; f.Function != "" && !Scheduler(f.Function) {
			return "", f.Function
		}
	}
	return "", ""
}

// Scheduler tells whether a function is a part of the scheduler that a sleeping task is
// always in, and so says nothing of why it sleeps.
func Scheduler(function string) bool {
	name, _, _ := strings.Cut(function, ".")
	switch name {
	case "schedule", "__schedule", "context_switch", "__switch_to_asm", "schedule_preempt_disabled", "schedule_timeout", "preempt_schedule", "preempt_schedule_irq", "__cond_resched":
		return true
	}
	return false
}

func frameList(s *stacks.Stack) []Frame {
	list := make([]Frame, 0, len(s.Frames))
	for i := range s.Frames {
		f := &s.Frames[i]
		out := Frame{PC: f.PC, Module: f.Module, Confidence: f.Confidence}
		if f.Function != "" {
			out.Name = f.Function + "+" + hex(f.Offset)
		}
		list = append(list, out)
	}
	return list
}
