package sysctl_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/netns"
	"github.com/kmortem/mortem/kernel/sysctl"
)

// Whose are the entries named "ipv6" in /proc/sys/net?
func ExampleReader_Header() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	k := fs.Kernel()
	tables, err := sysctl.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	nets, err := netns.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := fs.Lookup("/proc/sys/net", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	owners := map[uint32]bool{}
	for child, err := range fs.Children(dir) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if name, err := fs.NameOf(child); err != nil || name != "ipv6" || !tables.Owns(child) {
			continue
		}
		header, err := tables.Header(child.Inode)
		if err != nil || header.Unregistering || !header.Net {
			continue
		}
		if net, err := nets.Read(nets.FromSet(header.Set)); err == nil {
			owners[net.Inum] = true
		}
	}
	fmt.Println("more than 300 owners:", len(owners) > 300, "- init_net among them:", owners[4026531840])
	// Output: more than 300 owners: true - init_net among them: true
}
