package dcache

import (
	"cmp"
	"slices"

	"github.com/kmortem/mortem/kernel/vfs"
)

// Directories cannot be freed before what is below them. Which names end
// those trees is looked up for a sample of a chain's entries.
const (
	maxPinSamples = 10000 // entries of one name that are looked into
	maxPinNodes   = 64    // dentries below one entry
	maxPinDepth   = 16    // levels below one entry
	maxLeafNames  = 1024  // names told apart
	shownLeaves   = 5
)

// pinTally is a Pins in the making.
type pinTally struct {
	sampled, directories, cut int
	leaves                    map[string]*Leaf
}

// samplePins looks below one directory of a chain.
func (d *describer) samplePins(g *group, dir *vfs.Dentry) {
	if dir.Negative() || g.pins.sampled == maxPinSamples {
		return
	}
	g.pins.sampled++
	if dir.Count <= 0 {
		return
	}
	nodes := 0
	if d.below(g, dir, "", 0, &nodes) {
		g.pins.directories++
	}
	if nodes > maxPinNodes {
		g.pins.cut++
	}
}

// below walks the tree below a directory and notes where it ends. It tells
// whether there is anything.
func (d *describer) below(g *group, dir *vfs.Dentry, path string, depth int, nodes *int) bool {
	found := false
	for child, err := range d.fs.Children(dir) {
		if err != nil {
			d.cover.Fail(err)
			break
		}
		if *nodes++; *nodes > maxPinNodes {
			break
		}
		found = true
		name, err := d.fs.NameOf(child)
		if err != nil {
			d.cover.Fail(err)
			continue
		}
		at := *child
		ends := depth == maxPinDepth || !d.below(g, &at, path+name+"/", depth+1, nodes)
		if ends && *nodes <= maxPinNodes { // else what is below it was not looked at
			g.pins.add(path+name, child.Count > 0, child.Count == 0 && d.fs.OnLRU(child))
		}
	}
	return found
}

func (p *pinTally) add(path string, held, reclaimable bool) {
	if p.leaves == nil {
		p.leaves = make(map[string]*Leaf)
	}
	leaf := p.leaves[path]
	if leaf == nil {
		if len(p.leaves) == maxLeafNames {
			return
		}
		leaf = &Leaf{Path: path}
		p.leaves[path] = leaf
	}
	leaf.Count++
	if held {
		leaf.Held++
	}
	if reclaimable {
		leaf.Reclaimable++
	}
}

func (p *pinTally) finish() *Pins {
	if p.directories == 0 {
		return nil
	}
	pins := &Pins{Sampled: p.sampled, Directories: p.directories, Cut: p.cut}
	for _, leaf := range p.leaves {
		pins.Leaves = append(pins.Leaves, *leaf)
	}
	slices.SortFunc(pins.Leaves, func(a, b Leaf) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Path, b.Path))
	})
	pins.Leaves = pins.Leaves[:min(len(pins.Leaves), shownLeaves)]
	return pins
}
