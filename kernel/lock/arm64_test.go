package lock_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/arm64"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// arm64Plant is the arm64 guest's dump in which processors are put to other places of
// its kernel's code: the guest itself planted no locks.
type arm64Plant struct {
	*kerneltest.Overlay
	t     *testing.T
	k     *kernel.Kernel // of the dump as it is
	facts dump.Facts
}

func plantARM64(t *testing.T) *arm64Plant {
	k := kerneltest.ARM64(t)
	p := &arm64Plant{Overlay: kerneltest.OverlayOn(t, k), t: t, k: k, facts: *k.Image().Facts()}
	p.facts.CPUs = slices.Clone(p.facts.CPUs)
	return p
}

// Facts implements dump.Image.
func (p *arm64Plant) Facts() *dump.Facts { return &p.facts }

func (p *arm64Plant) open() *kernel.Kernel {
	k, err := kernel.Open(p, kerneltest.ARM64Info(p.t), kernel.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

// function reads the code of a function of the dumped kernel.
func (p *arm64Plant) function(name string) (start uint64, code []byte) {
	p.t.Helper()
	start, err := p.k.Symbol(name)
	sym, _, ok := p.k.SymbolAt(start)
	if err != nil || !ok {
		p.t.Fatalf("%s: %v", name, err)
	}
	code = make([]byte, sym.Size)
	if _, err := p.k.Read(code, start); err != nil {
		p.t.Fatal(err)
	}
	return start, code
}

// behindCall is where a function comes back to from its first call of another one.
func (p *arm64Plant) behindCall(name, callee string) uint64 {
	p.t.Helper()
	start, code := p.function(name)
	target, err := p.k.Symbol(callee)
	if err != nil {
		p.t.Fatal(err)
	}
	for end := 4; end <= len(code); end += 4 {
		if at, ok := (arm64.Arch{}).CallTarget(code, end, start); ok && at == target {
			return start + uint64(end)
		}
	}
	p.t.Fatalf("%s does not call %s", name, callee)
	return 0
}

// at is the address of the first instruction of a function with an encoding.
func (p *arm64Plant) at(name string, word uint32) uint64 {
	p.t.Helper()
	start, code := p.function(name)
	for at := 0; at < len(code); at += 4 {
		if binary.LittleEndian.Uint32(code[at:]) == word {
			return start + uint64(at)
		}
	}
	p.t.Fatalf("%s has no %#x", name, word)
	return 0
}

// planted is a function that a processor is in: where, and the registers there that it
// keeps for itself.
type planted struct {
	pc   uint64
	kept map[arch.Reg]uint64
}

// run puts a processor into functions, the innermost first, on its task's stack. The
// innermost one has other registers too.
func (p *arm64Plant) run(cpu int, tk *task.Task, frames []planted, other map[string]uint64) {
	p.t.Helper()
	regs := map[string]uint64{"pstate": 0x3c5, "sp": 0} // EL1h
	top := tk.Stack + 12<<10
	at := make([]uint64, len(frames)) // stack pointers
	layout := make([]arch.Frame, len(frames))
	for i := len(frames) - 1; i >= 0; i-- {
		sym, off, _ := p.k.SymbolAt(frames[i].pc)
		_, code := p.function(sym.Name)
		f, ok := (arm64.Arch{}).FrameAt(code, int(off))
		if !ok {
			p.t.Fatalf("%s", p.k.SymbolName(frames[i].pc))
		}
		layout[i], at[i] = f, top-uint64(f.Offset)
		top = at[i]
	}
	kept := map[arch.Reg]uint64{} // as the functions further out have them
	fp := uint64(0)
	for i := len(frames) - 1; i >= 0; i-- {
		cfa := at[i] + uint64(layout[i].Offset)
		for r := arch.Reg(19); r <= arm64.LR; r++ {
			below, saved := layout[i].Saved(r)
			value := kept[r]
			if r == arm64.FP {
				value = fp
			}
			if r == arm64.LR && i+1 < len(frames) {
				value = frames[i+1].pc
			}
			if saved {
				p.PutUint64(cfa-uint64(below), value)
				if r == arm64.FP {
					fp = cfa - uint64(below)
				}
			} else if i == 0 && r == arm64.LR {
				regs["x30"] = value
			}
		}
		for r, v := range frames[i].kept {
			kept[r] = v
		}
	}
	names := (arm64.Arch{}).Registers()
	for r := arch.Reg(19); r < arm64.FP; r++ {
		regs[names.Name(r)] = kept[r]
	}
	regs["sp"], regs["x29"], regs["pc"] = at[0], fp, frames[0].pc
	for name, v := range other {
		regs[name] = v
	}
	c := &p.facts.CPUs[cpu]
	c.General = slices.Clone(c.General)
	for i, r := range c.General {
		c.General[i].Value = regs[r.Name]
	}
}

// users are the tasks that processors 0 and 1 of the guest run.
func (p *arm64Plant) users() (first, second *task.Task) {
	p.t.Helper()
	tasks, err := task.New(p.k)
	if err != nil {
		p.t.Fatal(err)
	}
	cpus, err := tasks.CPUs()
	if err != nil || len(cpus) < 2 {
		p.t.Fatal(cpus, err)
	}
	first, err1 := tasks.At(cpus[0].Current)
	second, err2 := tasks.At(cpus[1].Current)
	if err1 != nil || err2 != nil {
		p.t.Fatal(err1, err2)
	}
	return first, second
}

const wfe = 0xd503205f

// check looks for one spinner and one suspect.
func (p *arm64Plant) check(addr uint64, kind lock.Kind, mode lock.Mode, spinner, holder *task.Task, inside string) {
	p.t.Helper()
	s := byThread(snapshot(p.t, p.open(), lock.Options{}))
	w := s.wait[int(spinner.PID)]
	if w == nil || !w.Spinning || w.Mode != mode || uint64(s.Locks[w.Lock].Addr) != addr || s.Locks[w.Lock].Kind != kind {
		p.t.Fatalf("the spinner waits for %+v", w)
	}
	if l := s.Locks[w.Lock]; !l.Held || !l.HeldKnown {
		p.t.Errorf("the lock is %+v", l)
	}
	suspects := s.holders(addr, lock.Suspected)
	h, ok := suspects[int(holder.PID)]
	if !ok || len(suspects) != 1 || h.Method != lock.ByCode {
		p.t.Fatalf("suspected are %+v", suspects)
	}
	e := h.Evidence[0]
	if e.Function != inside || !strings.Contains(e.Text, "on any way") || !strings.HasPrefix(e.CallName, inside+"+") {
		p.t.Errorf("the evidence is %+v", e)
	}
}

// TestARM64ReadWriteLock: register_filesystem (fs/filesystems.c) compares names under
// file_systems_lock, which it takes for writing by instructions of its own and not by a
// call.
func TestARM64ReadWriteLock(t *testing.T) {
	p := plantARM64(t)
	spinner, holder := p.users()
	addr, err := p.k.Symbol("file_systems_lock")
	if err != nil {
		t.Fatal(err)
	}
	strlen, err := p.k.Symbol("strlen")
	if err != nil {
		t.Fatal(err)
	}
	p.run(0, spinner, []planted{
		{p.at("queued_write_lock_slowpath", wfe), map[arch.Reg]uint64{19: addr}},
		{p.behindCall("register_filesystem", "queued_write_lock_slowpath"), map[arch.Reg]uint64{23: addr - 8}},
	}, nil)
	p.run(1, holder, []planted{{strlen, nil}, {p.behindCall("register_filesystem", "strlen"), nil}}, nil)
	p.Write(addr, binary.LittleEndian.AppendUint32(nil, 0x1ff))
	p.check(addr, lock.RWLock, lock.Write, spinner, holder, "register_filesystem")
	// Before it took it, nobody is suspected.
	p.run(1, holder, []planted{{strlen, nil}, {p.behindCall("register_filesystem", "__pi_strchr"), nil}}, nil)
	s := byThread(snapshot(t, p.open(), lock.Options{}))
	if found := s.holders(addr, lock.Suspected); len(found) > 0 {
		t.Errorf("suspected are %+v", found)
	}
}

// TestARM64InodeLock: iput takes an inode's i_lock by _atomic_dec_and_lock, and has it
// when it takes the inode off the LRU (fs/inode.c); igrab spins for it.
func TestARM64InodeLock(t *testing.T) {
	p := plantARM64(t)
	spinner, holder := p.users()
	fs, err := vfs.Open(p.k)
	if err != nil {
		t.Fatal(err)
	}
	inode := uint64(0)
	for sb, err := range fs.SuperBlocks() {
		if err != nil {
			t.Fatal(err)
		}
		if d, err := fs.Dentry(sb.Root); err == nil && d.Inode != 0 {
			inode = d.Inode
			break
		}
	}
	typ, err := p.k.Type("struct inode")
	if err != nil || inode == 0 {
		t.Fatal(inode, err)
	}
	m, err := typ.Field("i_lock")
	if err != nil {
		t.Fatal(err)
	}
	addr := inode + uint64(m.Offset)
	del, err := p.k.Symbol("list_lru_del")
	if err != nil {
		t.Fatal(err)
	}
	p.run(0, spinner, []planted{
		{p.at("queued_spin_lock_slowpath", wfe), nil},
		{p.behindCall("igrab", "queued_spin_lock_slowpath"), map[arch.Reg]uint64{19: inode}},
	}, map[string]uint64{"x0": 0x101, "x3": addr})
	p.run(1, holder, []planted{{del, nil}, {p.behindCall("iput", "list_lru_del"), map[arch.Reg]uint64{19: inode}}}, nil)
	p.Write(addr, binary.LittleEndian.AppendUint32(nil, 0x101))
	p.check(addr, lock.Spinlock, "", spinner, holder, "iput")
	// What igrab passed is known from its code too, if no register has it any more.
	p.facts.CPUs[0].General = slices.Clone(p.facts.CPUs[0].General)
	for i := range p.facts.CPUs[0].General {
		if p.facts.CPUs[0].General[i].Name == "x3" {
			p.facts.CPUs[0].General[i].Value = 0
		}
	}
	p.check(addr, lock.Spinlock, "", spinner, holder, "iput")
	// With another inode in the frame it is another lock.
	p.run(1, holder, []planted{{del, nil}, {p.behindCall("iput", "list_lru_del"), map[arch.Reg]uint64{19: inode + 1024}}}, nil)
	s := byThread(snapshot(t, p.open(), lock.Options{}))
	if found := s.holders(addr, lock.Suspected); len(found) > 0 {
		t.Errorf("suspected are %+v", found)
	}
}
