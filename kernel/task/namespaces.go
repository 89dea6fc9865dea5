package task

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// nsproxyLayout is struct nsproxy (include/linux/nsproxy.h). pid_ns is the task's
// own until 3.10, and since 3.11 that of its children; cgroup_ns is there since 4.6,
// time_ns since 5.6.
type nsproxyLayout struct {
	kernel.Layout `kernel:"struct nsproxy"`
	UTS           kernel.U64 `kernel:"uts_ns,optional"`
	IPC           kernel.U64 `kernel:"ipc_ns,optional"`
	Mount         kernel.U64 `kernel:"mnt_ns,optional"`
	Net           kernel.U64 `kernel:"net_ns,optional"`
	Time          kernel.U64 `kernel:"time_ns,optional"`
	Cgroup        kernel.U64 `kernel:"cgroup_ns,optional"`
}

// Namespace is one that a task is in, by struct nsproxy
// (include/linux/nsproxy.h), its credentials or its struct pid.
type Namespace struct {
	Kind string // as in /proc/PID/ns: "net", "pid", …
	Addr uint64 // virtual address of the structure
	Inum uint32 // inode number; 0 before 3.8, which has none
}

// Namespaces are those that a task is in. A task that exited has its user and pid
// namespaces only. What was read comes with the first error.
func (d *Details) Namespaces(t *Task, c *Credentials) ([]Namespace, error) {
	var list []Namespace
	var first error
	add := func(kind, typeName string, addr uint64) {
		if addr == 0 {
			return
		}
		inum, err := d.inum(typeName, addr)
		if err != nil && first == nil {
			first = fmt.Errorf("%s at %#x: %w", typeName, addr, err)
		}
		list = append(list, Namespace{Kind: kind, Addr: addr, Inum: inum})
	}
	if t.Nsproxy != 0 {
		l := &d.proxy
		b, err := d.k.Peek(t.Nsproxy, make([]byte, l.Span()))
		if err != nil {
			first = fmt.Errorf("struct nsproxy at %#x: %w", t.Nsproxy, err)
		} else {
			add("cgroup", "struct cgroup_namespace", l.Cgroup.Or0(b))
			add("ipc", "struct ipc_namespace", l.IPC.Or0(b))
			add("mnt", "struct mnt_namespace", l.Mount.Or0(b))
			add("net", "struct net", l.Net.Or0(b))
			add("time", "struct time_namespace", l.Time.Or0(b))
			add("uts", "struct uts_namespace", l.UTS.Or0(b))
		}
	}
	numbers, err := d.r.Numbers(t)
	if err != nil && first == nil {
		first = err
	}
	if n := len(numbers); n > 0 {
		add("pid", "struct pid_namespace", numbers[n-1].Namespace)
	}
	if c != nil {
		add("user", "struct user_namespace", c.UserNS)
	}
	return list, first
}

// inum is a namespace's inode number.
func (d *Details) inum(typeName string, addr uint64) (uint32, error) {
	offset, ok := d.inums[typeName]
	if !ok {
		return 0, nil
	}
	return d.k.Uint32(addr + offset)
}

// inumOffsets finds where the structures have their inode numbers: in ns.inum since
// 3.19, in proc_inum from 3.8 on.
func inumOffsets(k *kernel.Kernel) map[string]uint64 {
	offsets := map[string]uint64{}
	for _, name := range []string{"cgroup_namespace", "ipc_namespace", "mnt_namespace", "net", "pid_namespace", "time_namespace", "user_namespace", "uts_namespace"} {
		t, err := k.Type("struct " + name)
		if err != nil {
			continue
		}
		for _, path := range []string{"ns.inum", "proc_inum"} {
			if f, err := t.Field(path); err == nil {
				offsets["struct "+name] = uint64(f.Offset)
				break
			}
		}
	}
	return offsets
}
