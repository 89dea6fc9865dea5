package slab

import (
	"encoding/binary"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/slab"
)

// A probe is one member of a type that a real object of the type must satisfy.
type probe struct {
	kind   probeKind
	off    int
	path   string
	target *ctype.Type // of a pointer
	union  bool        // it is one of several that may be there, and can only speak for the type
}

type probeKind uint8

const (
	probeList  probeKind = iota // struct list_head: its neighbours point back
	probeHlist                  // struct hlist_node: what pprev points to points back
	probeHead                   // struct hlist_head: its first node points back
	probeFunc                   // a pointer to a function: to its first instruction
	probeOps                    // a pointer to a structure of functions: a variable of that type
	probePtr                    // a pointer to another structure
	probeBool                   // 0 or 1
)

// What an object's member says for or against its being of a type. The figures only
// order types: what hardly happens by chance weighs more.
const (
	forOps     = 16 // leads to a variable of exactly that type
	forLinked  = 10 // neighbours in a list point back
	forFunc    = 8  // leads to the start of a function
	forHashed  = 8
	forTyped   = 4 // leads to an object of the cache of that type
	forEmpty   = 3 // an initialised and empty list
	forPointer = 1
	against    = -8 // contradicts
	doubtful   = -2 // may be a per-CPU or user pointer
)

const (
	maxProbes      = 64
	maxProbeDepth  = 6
	maxProbeArrays = 4
)

// candidate is a type that objects may be of.
type candidate struct {
	name   string
	typ    *ctype.Type
	probes []probe
	best   int // objects of the sample that it fits best
}

// compile finds the members of a type that can be checked. What call_rcu uses is stale
// as a rule, and says nothing.
func compile(t *ctype.Type) []probe {
	c := compiler{}
	c.record(t.Strip(), 0, "", 0)
	return c.list
}

type compiler struct {
	list  []probe
	union int // how many unions are around
}

func (c *compiler) record(t *ctype.Type, base int64, path string, depth int) {
	if depth > maxProbeDepth || !t.IsRecord() {
		return
	}
	if t.Kind == ctype.Union {
		c.union++
		defer func() { c.union-- }()
	}
	for _, m := range t.Members() {
		if len(c.list) >= maxProbes {
			return
		}
		name := m.Name
		if path != "" && name != "" {
			name = path + "." + name
		} else if name == "" {
			name = path
		}
		if m.BitSize == 0 {
			c.member(m.Type.Strip(), base+m.Offset, name, depth)
		}
	}
}

func (c *compiler) member(t *ctype.Type, off int64, path string, depth int) {
	add := func(kind probeKind, target *ctype.Type) {
		if slices.ContainsFunc(c.list, func(p probe) bool { return p.union && p.kind == kind && p.off == int(off) }) {
			return // another name for what is there already
		}
		c.list = append(c.list, probe{kind: kind, off: int(off), path: path, target: target, union: c.union > 0})
	}
	switch t.Kind {
	case ctype.Union:
		c.record(t, off, path, depth+1)
	case ctype.Struct:
		switch t.Name {
		case "list_head":
			add(probeList, nil)
		case "hlist_node":
			add(probeHlist, nil)
		case "hlist_head":
			add(probeHead, nil)
		case "callback_head", "rb_node", "rb_root":
		default:
			c.record(t, off, path, depth+1)
		}
	case ctype.Array:
		size := t.Elem().Size()
		for i := int64(0); i < min(max(t.Count, 1), maxProbeArrays) && size > 0; i++ {
			c.member(t.Elem().Strip(), off+i*size, path, depth+1)
		}
	case ctype.Int:
		if t.Encoding == ctype.Bool && t.Bytes == 1 && c.union == 0 {
			add(probeBool, nil)
		}
	case ctype.Pointer:
		switch to := t.Elem().Strip(); {
		case to.Kind == ctype.Func:
			add(probeFunc, nil)
		case to.Kind == ctype.Struct && isOps(to):
			add(probeOps, to)
		case to.Kind == ctype.Struct:
			add(probePtr, to)
		}
	}
}

// isOps tells whether a structure is mostly pointers to functions.
func isOps(t *ctype.Type) bool {
	funcs, others := 0, 0
	for _, m := range t.Members() {
		if p := m.Type.Strip(); p.Kind == ctype.Pointer && p.Elem().Strip().Kind == ctype.Func {
			funcs++
		} else {
			others++
		}
	}
	return funcs >= 2 && funcs >= others
}

// judge weighs objects against types.
type judge struct {
	k      *kernel.Kernel
	s      *slab.Allocations
	direct uint64
	max    uint64
	known  map[string]string // cache to the type that is known to be in it
	vars   map[uint64]*ctype.Type
}

func newJudge(s *slab.Allocations) *judge {
	k := s.Kernel()
	j := &judge{k: k, s: s, known: knownTypes(s), vars: make(map[uint64]*ctype.Type)}
	j.direct, _ = k.PageOffset()
	j.max = k.Image().Facts().MaxPhys
	return j
}

// knownTypes are the types in caches, by the names of the caches.
func knownTypes(s *slab.Allocations) map[string]string {
	known := make(map[string]string)
	for _, c := range s.Caches() {
		for _, name := range []string{"struct " + c.Name, cacheTypes[c.Name]} {
			if name != "" && s.Kernel().HasType(name) {
				known[c.Name] = name
			}
		}
	}
	return known
}

// cacheTypes are the types in caches of another name (the kernel's kmem_cache_create
// calls), where nothing else is in them.
var cacheTypes = map[string]string{
	"filp": "struct file", "net_namespace": "struct net", "mnt_cache": "struct mount", "kernfs_node_cache": "struct kernfs_node",
	"inode_cache": "struct inode", "proc_inode_cache": "struct proc_inode", "sock_inode_cache": "struct socket_alloc",
	"ext4_inode_cache": "struct ext4_inode_info", "shmem_inode_cache": "struct shmem_inode_info",
	"signal_cache": "struct signal_struct", "sighand_cache": "struct sighand_struct", "files_cache": "struct files_struct",
	"cred_jar": "struct cred", "ip6_dst_cache": "struct rt6_info", "ip_dst_cache": "struct rtable",
	"skbuff_head_cache": "struct sk_buff", "bdev_cache": "struct bdev_inode",
}

// kernelAddress tells whether a number can be an address of the kernel.
func kernelAddress(v uint64) bool { return v>>47 == 0x1ffff || v>>56 == 0xff }

// errorPointer tells whether a pointer is an error number (ERR_PTR) or list poison.
func errorPointer(v uint64) bool { return v > ^uint64(0)-4096 || v>>48 == 0xdead }

func (j *judge) word(at uint64) (uint64, bool) {
	var buf [8]byte
	b, err := j.k.Peek(at, buf[:])
	if err != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b), true
}

// weigh adds up what an object says for and against being of a type. strong is how much
// of it hardly happens by chance: 2 for a member that proves much, 1 for one that leads
// to an object of the right cache.
func (j *judge) weigh(c *candidate, object []byte, addr uint64) (score, strong int) {
	for i := range c.probes {
		p := &c.probes[i]
		if p.off+8 > len(object) && p.kind != probeBool || p.off >= len(object) {
			continue
		}
		n := j.check(p, object, addr)
		switch {
		case n < 0 && p.union:
			continue
		case n >= forFunc:
			strong += 2
		case n == forTyped:
			strong++
		}
		score += n
	}
	return score, strong
}

func (j *judge) check(p *probe, object []byte, addr uint64) int {
	if p.kind == probeBool {
		if object[p.off] > 1 {
			return against
		}
		return 0
	}
	v := binary.LittleEndian.Uint64(object[p.off:])
	switch p.kind {
	case probeList:
		if p.off+16 > len(object) {
			return 0
		}
		return j.checkList(addr+uint64(p.off), v, binary.LittleEndian.Uint64(object[p.off+8:]))
	case probeHlist:
		if p.off+16 > len(object) {
			return 0
		}
		return j.checkHlist(addr+uint64(p.off), v, binary.LittleEndian.Uint64(object[p.off+8:]))
	}
	if v == 0 || errorPointer(v) {
		return 0
	}
	if p.kind == probeHead {
		return j.checkHead(addr+uint64(p.off), v)
	}
	if !kernelAddress(v) {
		return doubtful
	}
	switch p.kind {
	case probeFunc:
		return j.checkFunc(v)
	case probeOps:
		return j.checkOps(p, v)
	}
	return j.checkPointer(p, v)
}

func (j *judge) checkList(node, next, prev uint64) int {
	switch {
	case next == 0 && prev == 0, errorPointer(next), errorPointer(prev):
		return 0
	case next == node && prev == node:
		return forEmpty
	case !kernelAddress(next) || !kernelAddress(prev) || next&7 != 0 || prev&7 != 0:
		return against
	}
	back, ok1 := j.word(next + 8)
	forth, ok2 := j.word(prev)
	if !ok1 || !ok2 {
		return doubtful
	}
	if back == node || forth == node {
		return forLinked
	}
	return against
}

func (j *judge) checkHlist(node, next, pprev uint64) int {
	switch {
	case next == 0 && pprev == 0, errorPointer(pprev):
		return 0
	case !kernelAddress(pprev) || pprev&7 != 0:
		return against
	}
	to, ok := j.word(pprev)
	if !ok {
		return doubtful
	}
	if to&^1 == node {
		return forHashed
	}
	return against
}

func (j *judge) checkHead(head, first uint64) int {
	if first &^= 1; !kernelAddress(first) || first&7 != 0 {
		return against
	}
	pprev, ok := j.word(first + 8)
	if !ok {
		return doubtful
	}
	if pprev == head {
		return forHashed
	}
	return against
}

func (j *judge) checkFunc(v uint64) int {
	if sym, off, ok := j.k.SymbolAt(v); ok {
		if off == 0 && sym.Kind == textKind {
			return forFunc
		}
		return against
	}
	if _, ok := j.k.LookupName(v); ok { // in a module
		return forFunc
	}
	return against
}

// checkOps looks for a variable of the type at the address, which may be a member of
// another.
func (j *judge) checkOps(p *probe, v uint64) int {
	if n, ok := j.checkVariable(p, v); ok {
		return 2 * n
	}
	return j.checkPointer(p, v)
}

// checkVariable is false for an address outside of the kernel's image.
func (j *judge) checkVariable(p *probe, v uint64) (int, bool) {
	sym, off, ok := j.k.SymbolAt(v)
	if !ok {
		return 0, false
	}
	t, ok := j.vars[sym.Addr]
	if !ok {
		t, _ = j.k.Info().Variable(sym.Name)
		j.vars[sym.Addr] = t
	}
	if t == nil { // as with BTF, which has no variables
		if off == 0 && sym.Kind != textKind {
			return forTyped / 2, true
		}
		return 0, true
	}
	if typeWithin(t, int64(off), p.target.Name) {
		return forOps / 2, true
	}
	return against / 2, true
}

// typeWithin tells whether a struct of a name begins at an offset in a type.
func typeWithin(t *ctype.Type, off int64, name string) bool {
	for range maxProbeDepth * 2 {
		s := t.Strip()
		if off == 0 && s.Kind == ctype.Struct && s.Name == name {
			return true
		}
		switch {
		case s.Kind == ctype.Array && s.Elem().Size() > 0:
			t, off = s.Elem(), off%s.Elem().Size()
		case s.IsRecord():
			found := false
			for _, m := range s.Members() {
				if off >= m.Offset && off < m.Offset+max(1, m.Type.Size()) {
					t, off, found = m.Type, off-m.Offset, true
					break
				}
			}
			if !found {
				return false
			}
		default:
			return false
		}
	}
	return false
}

// checkPointer looks at the slab object that a pointer leads to: it must have room for
// what it is said to be.
func (j *judge) checkPointer(p *probe, v uint64) int {
	if n, ok := j.checkVariable(p, v); ok {
		return n
	}
	v &^= 7 // low bits may be flags
	if v < j.direct || v-j.direct >= j.max {
		if _, _, err := j.k.Translate(v); err != nil {
			return doubtful
		}
		return 0
	}
	sl, ok, err := j.s.SlabOf((v - j.direct) / j.k.PageSize())
	if err != nil {
		return doubtful
	}
	if !ok {
		return 0
	}
	_, off, ok := sl.Index(v)
	if !ok {
		return against
	}
	size := int(p.target.Size())
	switch known := j.known[sl.Cache.Name]; {
	case off == 0 && known == "struct "+p.target.Name:
		return forTyped
	case known != "" && sl.Cache.Refcount <= 1 && off == 0:
		if t, err := j.k.Type(known); err == nil && typeWithin(t, 0, p.target.Name) {
			return forTyped
		}
		return against
	case off+size > sl.Cache.Size && size > 0 && off == 0:
		return doubtful
	}
	return forPointer
}
