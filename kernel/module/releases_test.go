package module_test

import (
	"encoding/binary"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/module"
)

// TestReleases reads a module out of kernels of each way to keep it in memory.
func TestReleases(t *testing.T) {
	n := 0
	for _, l := range synthetic.Releases() {
		if !l.Has("module", "list") {
			continue
		}
		n++
		t.Run(l.Name, func(t *testing.T) { checkRelease(t, l) })
	}
	if n < 3 {
		t.Errorf("only %d releases have a struct module", n)
	}
}

func checkRelease(t *testing.T, l *synthetic.Layout) {
	built := synthetic.New(l, synthetic.Machine{})
	text := build(built, l)
	image, err := built.Image()
	if err != nil {
		t.Fatal(err)
	}
	info, err := built.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	table, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := table.At(text + 0x30)
	if !ok || m.Name != "old" || m.State != module.Going || m.TaintFlags() != "PO" || m.Args != "debug=1 name=x" || m.Base() != text {
		t.Fatalf("%+v", m)
	}
	if r, _ := m.Region(text); r.Text.Size < 0x100 || r.Size < r.Text.Size {
		t.Errorf("the module's code is in %+v", r)
	}
	if !l.Has("module", "symtab") && !l.Has("mod_kallsyms", "symtab") {
		return // the layout leaves the symbols out
	}
	want := "second+0x10/0xe0 [old]"
	if l.Has("module", "mem") {
		want = "second+0x10/0xfe0 [old]" // all of mem[MOD_TEXT] is code
	}
	if got := k.SymbolName(text + 0x30); got != want {
		t.Errorf("named %s, not %s", got, want)
	}
}

// build puts one module into a kernel, and returns where its code is.
func build(k *synthetic.Kernel, l *synthetic.Layout) (text uint64) {
	text = k.Vmalloc(8192)
	m := k.Alloc("module")
	m.Put("name", []byte("old")).Set("state", uint64(module.Going)).Set("taints", 1|1<<12).Set("args", k.String("debug=1 name=x"))
	if m.Has("mem") {
		mem := m.At("mem") // the first, which is mem[MOD_TEXT]
		k.PutUint64(mem+l.Offset("module_memory", "base"), text)
		k.PutUint32(mem+l.Offset("module_memory", "size"), 0x1000)
	} else {
		m.SetAny(text, "core_layout.base", "module_core").SetAny(0x2000, "core_layout.size", "core_size").
			SetAny(0x100, "core_layout.text_size", "core_text_size")
	}
	symbols(k, m, text)
	head := k.Var("modules", "struct list_head")
	node := m.At("list")
	for _, at := range []uint64{head.Addr, head.Addr + 8} {
		k.PutUint64(at, node)
	}
	for _, at := range []uint64{node, node + 8} {
		k.PutUint64(at, head.Addr)
	}
	return text
}

// symbols writes a symbol table as kernels before 5.2 kept it, with nm's
// letters in place of st_info.
func symbols(k *synthetic.Kernel, m synthetic.Object, text uint64) {
	strtab := k.Kmalloc(64)
	k.Write(strtab, []byte("\x00first\x00second\x00gone\x00"))
	table := make([]byte, 24) // the first symbol of a table is none
	for _, s := range []struct {
		name, section int
		value         uint64
	}{{7, 1, text + 0x20}, {1, 1, text}, {14, 0, text + 0x28}} {
		table = binary.LittleEndian.AppendUint32(table, uint32(s.name))
		table = append(table, 't', 0, byte(s.section), 0)
		table = binary.LittleEndian.AppendUint64(table, s.value)
		table = binary.LittleEndian.AppendUint64(table, 4)
	}
	symtab := k.Kmalloc(uint64(len(table)))
	k.Write(symtab, table)
	switch {
	case m.Has("symtab"):
		m.Set("symtab", symtab).Set("strtab", strtab).Set("num_symtab", 4)
	case m.Has("core_kallsyms.symtab"):
		of := m.Sub("core_kallsyms")
		of.Set("symtab", symtab).Set("strtab", strtab).Set("num_symtab", 4)
		m.Set("kallsyms", of.Addr)
	}
}
