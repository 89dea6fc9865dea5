package dcache

import "github.com/kmortem/mortem/kernel"

// countChildren counts the children of the parents of long groups: a directory
// with so many is walked for as long as something needs to go over it.
func (d *describer) countChildren(r *Report) {
	counts := make(map[kernel.Addr]*Children)
	for i := range r.Chains {
		for j := range r.Chains[i].Groups {
			g := &r.Chains[i].Groups[j]
			if g.Dentries.Total < longGroup(r) {
				continue
			}
			if counts[g.Parent] == nil {
				counts[g.Parent] = d.childrenOf(g.Parent)
			}
			g.Children = counts[g.Parent]
		}
	}
}

func (d *describer) childrenOf(dir kernel.Addr) *Children {
	c := &Children{}
	parent, err := d.fs.Dentry(uint64(dir))
	if err != nil {
		d.cover.Fail(err)
		c.AtLeast = true
		return c
	}
	for child, err := range d.fs.Children(parent) {
		if err != nil {
			d.cover.Fail(err)
			c.AtLeast = true
		}
		if child != nil {
			c.Total++
			if child.Negative() {
				c.Negative++
			}
		}
	}
	return c
}
