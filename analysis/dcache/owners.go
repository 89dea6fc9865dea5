package dcache

import (
	"errors"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/netns"
	"github.com/kmortem/mortem/kernel/sysctl"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// ownership knows the kernel's network namespaces and who is in them, so that
// the owner of an entry of /proc/sys can be told.
type ownership struct {
	sysctl *sysctl.Reader // nil where the kernel has no sysctl tables of namespaces
	nets   *netns.Reader
	listed map[uint64]*netns.Net // by address; those in net_namespace_list
	tasks  map[uint64]*members   // by the address of the network namespace
	cover  *kernel.Coverage
	churn  *Churn

	netsListed, tasksListed bool
}

// members are the threads in one network namespace.
type members struct {
	count int
	first []Member
}

// shownMembers is how many threads of a network namespace are named.
const shownMembers = 4

func (m *members) add(t *task.Task) {
	m.count++
	if len(m.first) < shownMembers {
		m.first = append(m.first, Member{PID: t.PID, Comm: t.Comm})
	}
}

func newOwnership(k *kernel.Kernel, cover *kernel.Coverage) *ownership {
	o := &ownership{listed: make(map[uint64]*netns.Net), tasks: make(map[uint64]*members), cover: cover, churn: &Churn{Tasks: []Member{}}}
	tables, err := sysctl.New(k)
	if err == nil {
		o.nets, err = netns.New(k)
	}
	if err != nil {
		if !errors.Is(err, kernel.ErrNotFound) {
			cover.Fail(err)
		}
		return o
	}
	o.sysctl = tables
	o.netsListed = o.listNets()
	o.tasksListed = o.listTasks(k)
	return o
}

func (o *ownership) listNets() bool {
	for n, err := range o.nets.All() {
		if err != nil {
			o.cover.Fail(err)
			return false
		}
		o.listed[n.Addr] = n
	}
	return true
}

func (o *ownership) listTasks(k *kernel.Kernel) bool {
	r, err := task.New(k)
	if err != nil {
		o.cover.Fail(err)
		return false
	}
	known := make(map[uint64]uint64) // nsproxy to net: threads share them
	all, ok := r.Find(o.cover.Fail)
	for _, t := range all {
		net, seen := known[t.Nsproxy]
		if !seen {
			if net, err = r.NetNamespace(t); err != nil {
				o.cover.Fail(err)
				ok = false
			}
			known[t.Nsproxy] = net
		}
		if o.tasks[net] == nil {
			o.tasks[net] = new(members)
		}
		o.tasks[net].add(t)
		o.churn.addTask(t)
	}
	return ok
}

// identify finds out whose entry a positive dentry of /proc/sys is.
func (o *ownership) identify(d *vfs.Dentry, e *Entry) {
	h, err := o.sysctl.Header(d.Inode)
	if err != nil {
		o.cover.Fail(err)
		e.Owner = string(OwnerUnreadable)
		return
	}
	if h == nil {
		e.Owner = string(OwnerOther)
		return
	}
	e.Set = kernel.Addr(h.Set)
	// An entry that is being unregistered comes first: its set may be the
	// address of a living namespace by now.
	switch {
	case h.Unregistering:
		e.Owner = string(OwnerDead)
	case !h.Net:
		e.Owner = string(OwnerOther)
		if h.Set == o.nets.InitSet() {
			e.Owner = string(OwnerInit)
		}
	default:
		o.identifyNet(o.nets.FromSet(h.Set), e)
	}
}

func (o *ownership) identifyNet(addr uint64, e *Entry) {
	e.Net = kernel.Addr(addr)
	n, listed := o.listed[addr]
	if !listed {
		var err error
		if n, err = o.nets.Read(addr); err != nil {
			o.cover.Fail(err)
			e.Owner = string(OwnerUnreadable)
			return
		}
	}
	e.NetInum = n.Inum
	if m := o.tasks[addr]; m != nil {
		e.Tasks, e.Members = m.count, m.first
	}
	switch {
	case n.Init:
		e.Owner = string(OwnerInit)
	case n.Count == 0:
		e.Owner = string(OwnerDying)
	case !listed && o.netsListed:
		e.Owner = string(OwnerStale)
	case e.Tasks == 0 && o.tasksListed:
		e.Owner = string(OwnerIdle)
	default:
		e.Owner = string(OwnerLiving)
	}
}

// ownerTally is an Owners in the making.
type ownerTally struct {
	Owners
	sets map[kernel.Addr]struct{}
}

// maxSets bounds how many ctl_table_sets of one name are told apart: as many
// as there can be network namespaces with 64 GiB of memory.
const maxSets = 1 << 20

func newOwnerTally() *ownerTally { return &ownerTally{sets: make(map[kernel.Addr]struct{})} }

func (t *ownerTally) add(e *Entry) {
	switch OwnerState(e.Owner) {
	case OwnerInit:
		t.Init++
		if t.InitDepth == nil {
			depth, compares := e.Index, e.Index+1
			t.InitDepth, t.InitCompares = &depth, &compares
		}
	case OwnerLiving:
		t.WithTasks++
	case OwnerIdle:
		t.WithoutTasks++
	case OwnerDying:
		t.Dying++
	case OwnerDead:
		t.Dead++
		return // its set says nothing
	case OwnerStale:
		t.Stale++
	case OwnerOther:
		t.Other++
	default:
		t.Unreadable++
		return
	}
	if _, known := t.sets[e.Set]; !known && len(t.sets) == maxSets {
		t.SetsAtLeast = true
		return
	}
	t.sets[e.Set] = struct{}{}
}

func (o *ownership) finish(t *ownerTally) *Owners {
	t.Sets = len(t.sets)
	t.NetsListed, t.TasksListed = o.netsListed, o.tasksListed
	return &t.Owners
}
