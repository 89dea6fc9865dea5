package locks

import (
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/kernel/lock"
)

// TestDescribe reads stacks as kernels of several times print them.
func TestDescribe(t *testing.T) {
	sleeping := lock.Task{State: "D"}
	for _, c := range []struct {
		task  lock.Task
		stack string // innermost first
		end   string
		want  string
		at    string
	}{
		{sleeping, "__schedule schedule io_schedule bit_wait_io __wait_on_bit out_of_line_wait_on_bit __wait_on_buffer ext4_bread", "user mode", "waits for I/O", "io_schedule"},
		{sleeping, "schedule io_schedule sleep_on_buffer __wait_on_bit out_of_line_wait_on_bit __wait_on_buffer", "user mode", "waits for I/O", "io_schedule"},
		{sleeping, "__schedule schedule io_schedule_timeout balance_dirty_pages.isra.0 generic_perform_write ext4_file_write_iter", "user mode", "is throttled: too much dirty memory", "balance_dirty_pages.isra.0"},
		{sleeping, "__schedule schedule schedule_timeout io_schedule_timeout congestion_wait shrink_inactive_list shrink_zone do_try_to_free_pages try_to_free_pages __alloc_pages_slowpath", "user mode", "waits for memory: direct reclaim", "try_to_free_pages"},
		{sleeping, "__schedule schedule rpc_wait_bit_killable __wait_on_bit out_of_line_wait_on_bit __rpc_execute rpc_execute nfs4_proc_getattr", "user mode", "waits for I/O by the network (RPC)", "rpc_wait_bit_killable"},
		{sleeping, "__schedule schedule jbd2_log_wait_commit jbd2_complete_transaction ext4_sync_file", "user mode", "waits for the journal", "jbd2_log_wait_commit"},
		{sleeping, "__schedule schedule foo_wait bar", "user mode", "sleeps", "foo_wait"},
		{lock.Task{State: "S"}, "__schedule schedule do_nanosleep hrtimer_nanosleep __x64_sys_nanosleep", "user mode", "sleeps for a time that it chose", "do_nanosleep"},
		{lock.Task{State: "S"}, "__schedule schedule request_wait_answer fuse_simple_request fuse_lookup_name", "user mode", "waits for user space: FUSE", "request_wait_answer"},
		{lock.Task{State: "I"}, "__schedule schedule worker_thread kthread ret_from_fork", "start of thread", "waits for work", "worker_thread"},
		{sleeping, "__schedule schedule schedule_timeout __wait_for_common my_work process_one_work worker_thread kthread", "start of thread", "sleeps", "__wait_for_common"},
		{lock.Task{State: "S"}, "__schedule schedule kswapd_try_to_sleep kswapd kthread", "start of thread", "waits for work", "kswapd_try_to_sleep"},
		{lock.Task{State: "R", Running: true}, "__shrink_dcache_sb_locked __shrink_dcache_sb shrink_dcache_memory shrink_slab balance_pgdat kswapd", "start of thread", "runs: shrinks the dentry cache", "__shrink_dcache_sb_locked"},
		{lock.Task{State: "R", Running: true}, "shrink_lruvec shrink_node balance_pgdat kswapd", "start of thread", "runs: reclaims memory", "shrink_node"},
		{lock.Task{State: "R", Running: true}, "", "user mode", "runs in user mode", ""},
		{lock.Task{State: "R"}, "__schedule schedule foo", "user mode", "could run, and waits for a processor", ""},
		{sleeping, "", "broken", "sleeps; its stack is not known", ""},
		{lock.Task{State: "T"}, "__schedule schedule do_signal_stop", "user mode", "is stopped by a signal", ""},
		{lock.Task{State: "Z"}, "", "freed", "has exited", ""},
		{lock.Task{Gone: "its task_struct was freed"}, "", "", "gone: its task_struct was freed", ""},
	} {
		s := &stacks.Stack{End: c.end}
		for _, name := range strings.Fields(c.stack) {
			s.Frames = append(s.Frames, stacks.Frame{Function: name, Confidence: "certain"})
		}
		d := Describe(&c.task, s)
		if d.What != c.want || c.at != "" && d.Function != c.at || len(d.Stack) != len(s.Frames) && c.task.Gone == "" {
			t.Errorf("%s: %+v", c.stack, d)
		}
	}
	// A function that may be left over from before tells nothing.
	s := &stacks.Stack{Frames: []stacks.Frame{{Function: "io_schedule", Confidence: "suspected"}}, End: "end of stack"}
	if d := Describe(&sleeping, s); d.What != "sleeps" {
		t.Errorf("%+v", d)
	}
}
