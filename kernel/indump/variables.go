package indump

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// variables are the types of global variables, which BTF does not have, as C
// spells them. They hold for every kernel that has BTF and a variable of that
// name. An array of a length that depends on the configuration has none here.
var variables = map[string]string{
	// Tasks and their namespaces.
	"init_task":      "struct task_struct",
	"init_mm":        "struct mm_struct",
	"init_nsproxy":   "struct nsproxy",
	"init_pid_ns":    "struct pid_namespace",
	"init_user_ns":   "struct user_namespace",
	"init_uts_ns":    "struct uts_namespace",
	"init_ipc_ns":    "struct ipc_namespace",
	"init_cgroup_ns": "struct cgroup_namespace",
	"init_fs":        "struct fs_struct",
	"init_files":     "struct files_struct",
	"tasklist_lock":  "rwlock_t",
	"nr_threads":     "int",

	// Control groups and scheduling.
	"init_css_set":    "struct css_set",
	"cgrp_dfl_root":   "struct cgroup_root",
	"cgroup_roots":    "struct list_head",
	"root_task_group": "struct task_group",
	"root_mem_cgroup": "struct mem_cgroup *",
	"workqueues":      "struct list_head",

	// File systems.
	"super_blocks":         "struct list_head",
	"file_systems":         "struct file_system_type *",
	"dentry_hashtable":     "struct hlist_bl_head *",
	"d_hash_shift":         "unsigned int",
	"inode_hashtable":      "struct hlist_head *",
	"i_hash_shift":         "unsigned int",
	"i_hash_mask":          "unsigned int",
	"mount_hashtable":      "struct hlist_head *",
	"mountpoint_hashtable": "struct hlist_head *",
	"rename_lock":          "seqlock_t",
	"mount_lock":           "seqlock_t",
	"dentry_cache":         "struct kmem_cache *",
	"filp_cachep":          "struct kmem_cache *",
	"dentry_stat":          "struct dentry_stat_t",
	"inodes_stat":          "struct inodes_stat_t",
	"files_stat":           "struct files_stat_struct",

	// The network and sysctl.
	"init_net":           "struct net",
	"net_namespace_list": "struct list_head",
	"rtnl_mutex":         "struct mutex",
	"tcp_hashinfo":       "struct inet_hashinfo",
	"udp_table":          "struct udp_table",
	"sysctl_table_root":  "struct ctl_table_root",
	"net_sysctl_root":    "struct ctl_table_root",

	// Memory.
	"slab_caches":        "struct list_head",
	"node_data":          "struct pglist_data *[]",
	"nr_node_ids":        "unsigned int",
	"mem_section":        "struct mem_section **",
	"vmap_area_list":     "struct list_head",
	"vmap_area_root":     "struct rb_root",
	"vm_node_stat":       "atomic_long_t []",
	"vm_zone_stat":       "atomic_long_t []",
	"_totalram_pages":    "atomic_long_t",
	"totalreserve_pages": "unsigned long",
	"swap_info":          "struct swap_info_struct *[]",
	"nr_swapfiles":       "unsigned int",
	"page_offset_base":   "unsigned long",
	"vmalloc_base":       "unsigned long",
	"vmemmap_base":       "unsigned long",
	"phys_base":          "unsigned long",
	"max_pfn":            "unsigned long",
	"iomem_resource":     "struct resource",

	// Processors, time, the log and modules.
	"__per_cpu_offset":   "unsigned long []",
	"nr_cpu_ids":         "unsigned int",
	"__cpu_online_mask":  "struct cpumask",
	"jiffies":            "volatile unsigned long",
	"jiffies_64":         "u64",
	"shadow_timekeeper":  "struct timekeeper",
	"modules":            "struct list_head",
	"prb":                "struct printk_ringbuffer *",
	"log_buf":            "char *",
	"log_buf_len":        "u32",
	"saved_command_line": "char *",
	"tainted_mask":       "unsigned long",
	"panic_cpu":          "atomic_t",
	"crashing_cpu":       "int",
	"panic_on_oops":      "int",
	"rcu_state":          "struct rcu_state",
}

// Variable returns the type of a global variable: of a per-CPU one from BTF, of
// some others from the list above, if the kernel has that type and the variable
// has room for it. The error wraps debuginfo.ErrNotFound.
func (s *Source) Variable(name string) (*ctype.Type, error) {
	t, err := s.Source.Variable(name)
	if err == nil || !errors.Is(err, debuginfo.ErrNotFound) {
		return t, err
	}
	sym, exists := s.symbols.Lookup(name)
	spelling, known := variables[name]
	switch {
	case !exists:
		return nil, fmt.Errorf("variable %s: %w of %s: the kernel has no symbol of that name", name, debuginfo.ErrNotFound, description)
	case !known:
		return nil, fmt.Errorf("variable %s: its type is %w of %s; vmlinux with DWARF has the types of all variables",
			name, debuginfo.ErrNotFound, description)
	}
	if t, err = s.spelled(spelling); err != nil {
		return nil, fmt.Errorf("variable %s: %w", name, err)
	}
	if room := sym.Size; room != 0 && uint64(t.Size()) > room {
		return nil, fmt.Errorf("variable %s: it was a %s of %d bytes in the kernels known, and here it has %d: its type is %w of %s",
			name, spelling, t.Size(), room, debuginfo.ErrNotFound, description)
	}
	return t, nil
}
