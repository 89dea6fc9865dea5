package dcache

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/printk"
	"github.com/kmortem/mortem/kernel/task"
)

// Churn is what shows that network namespaces come and go: lines of the log, and
// tasks of programs that make them. It is looked for where a chain is of entries of
// namespaces that are dead.
type Churn struct {
	// Created counts the lines "IPVS: Creating netns size=… id=…" of
	// net/netfilter/ipvs/ip_vs_core.c; their ids number all namespaces since boot.
	Created uint64 `json:"creating_netns_lines"`
	FirstID uint64 `json:"first_id,omitempty"`
	LastID  uint64 `json:"last_id,omitempty"`
	// First and Last are when these lines were written, in ns since boot.
	First time.Duration `json:"first_ns,omitempty"`
	Last  time.Duration `json:"last_ns,omitempty"`
	// Veth counts the lines about the devices that containers are connected by.
	Veth     uint64   `json:"veth_lines"`
	Example  string   `json:"example,omitempty"` // the last line of the first kind, else of the second; escaped
	LogError string   `json:"log_error,omitempty"`
	Tasks    []Member `json:"tasks"`      // whose names are of programs that make network namespaces; the first ones
	More     int      `json:"more_tasks"` // of these
}

// PerMinute is how many namespaces were created in a minute by the ids in the log,
// 0 where it does not tell.
func (c *Churn) PerMinute() float64 {
	if c.LastID <= c.FirstID || c.Last <= c.First {
		return 0
	}
	return float64(c.LastID-c.FirstID) / (c.Last - c.First).Minutes()
}

// shown tells whether there is anything.
func (c *Churn) shown() bool { return c.Created > 0 || c.Veth > 0 || len(c.Tasks) > 0 }

var creatingNetns = []byte("IPVS: Creating netns ")

// readLog looks for the lines.
func (c *Churn) readLog(k *kernel.Kernel) {
	log, err := printk.OpenKernel(k)
	if err != nil {
		c.LogError = err.Error()
		return
	}
	for r, err := range log.Records() {
		if err != nil {
			c.LogError = err.Error()
			continue
		}
		switch {
		case bytes.Contains(r.Text, creatingNetns):
			c.created(&r)
		case bytes.Contains(r.Text, []byte("veth")):
			if c.Veth++; c.Created == 0 {
				c.Example = cstr.Show(r.Text)
			}
		}
	}
}

func (c *Churn) created(r *printk.Record) {
	c.Created++
	c.Example = cstr.Show(r.Text)
	_, text, found := bytes.Cut(r.Text, []byte(" id="))
	id, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	if !found || err != nil {
		return
	}
	if c.FirstID == 0 {
		c.FirstID, c.First = id, r.Time
	}
	c.LastID, c.Last = id, r.Time
}

// makers are programs that make network namespaces, by their names as tasks
// have them: of 15 letters at most.
var makers = map[string]bool{
	"runc": true, "crun": true, "exe": true, "docker": true, "dockerd": true, "docker-runc": true, "docker-current": true,
	"dockerd-current": true, "containerd": true, "docker-containe": true, "crio": true, "conmon": true, "podman": true,
	"kubelet": true, "lxc-start": true, "lxd": true, "systemd-nspawn": true, "unshare": true, "ip": true, "nsenter": true,
	"buildkitd": true, "rkt": true, "multus": true, "calico": true, "flannel": true,
}

// isMaker tells whether a task's name is that of such a program, or of its threads
// ("runc:[1:CHILD]", "containerd-shim").
func isMaker(comm string) bool {
	stem, _, _ := strings.Cut(comm, ":")
	return makers[stem] || strings.HasPrefix(stem, "containerd-") || strings.HasPrefix(stem, "runc")
}

// shownMakers is how many such tasks are named.
const shownMakers = 8

// addTask takes note of a process of such a program.
func (c *Churn) addTask(t *task.Task) {
	if t.PID != t.TGID || !isMaker(t.Comm) {
		return
	}
	if len(c.Tasks) == shownMakers {
		c.More++
		return
	}
	c.Tasks = append(c.Tasks, Member{PID: t.PID, Comm: t.Comm})
}
