package module

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
)

// Reader knows the layout of the kernel's modules. It is safe for use by many
// goroutines.
type Reader struct {
	k        *kernel.Kernel
	module   moduleLayout
	memory   memoryLayout
	kallsyms kallsymsLayout
	sections sectionsLayout
	kinds    []string // of the elements of module.mem
	symbols  bool     // struct mod_kallsyms is known
}

// moduleLayout is struct module. What changed: the memory is module_core and
// module_init until 4.4, core_layout and init_layout from 4.5 to 6.3, and mem[]
// since 6.4; the symbols are its own members until 4.4, and behind kallsyms
// since 4.5; it has a build_id since 5.14.
type moduleLayout struct {
	kernel.Layout `kernel:"struct module"`
	State         kernel.U32   `kernel:"state"`
	List          kernel.U64   `kernel:"list.next"`
	Name          kernel.Bytes `kernel:"name"`
	Taints        kernel.Uint  `kernel:"taints"`
	Args          kernel.U64   `kernel:"args,optional"`
	Version       kernel.U64   `kernel:"version,optional"`
	SrcVersion    kernel.U64   `kernel:"srcversion,optional"`
	PerCPU        kernel.U64   `kernel:"percpu,optional"`
	PerCPUSize    kernel.U32   `kernel:"percpu_size,optional"`
	BuildID       kernel.Bytes `kernel:"build_id,optional"`

	Memory   kernel.Bytes `kernel:"mem,optional"`
	Core     kernel.U64   `kernel:"core_layout.base|module_core,optional"`
	CoreSize kernel.U32   `kernel:"core_layout.size|core_size,optional"`
	CoreText kernel.U32   `kernel:"core_layout.text_size|core_text_size,optional"`
	Init     kernel.U64   `kernel:"init_layout.base|module_init,optional"`
	InitSize kernel.U32   `kernel:"init_layout.size|init_size,optional"`
	InitText kernel.U32   `kernel:"init_layout.text_size|init_text_size,optional"`

	Kallsyms kernel.U64 `kernel:"kallsyms,optional"`
	Symtab   kernel.U64 `kernel:"symtab,optional"`
	Symbols  kernel.U32 `kernel:"num_symtab,optional"`
	Strtab   kernel.U64 `kernel:"strtab,optional"`
	Sections kernel.U64 `kernel:"sect_attrs,optional"`
}

// memoryLayout is struct module_memory, since 6.4.
type memoryLayout struct {
	kernel.Layout `kernel:"struct module_memory"`
	Base          kernel.U64 `kernel:"base"`
	Bytes         kernel.U32 `kernel:"size"`
}

// kallsymsLayout is struct mod_kallsyms, since 4.5; with typetab since 5.2.
type kallsymsLayout struct {
	kernel.Layout `kernel:"struct mod_kallsyms"`
	Symtab        kernel.U64 `kernel:"symtab"`
	Symbols       kernel.U32 `kernel:"num_symtab"`
	Strtab        kernel.U64 `kernel:"strtab"`
	Typetab       kernel.U64 `kernel:"typetab,optional"`
}

// New resolves the layouts. They are those of struct module
// (include/linux/module.h): module_memory since 6.4, module_layout since 4.5,
// members of its own before. The error wraps kernel.ErrNotFound where the
// kernel lacks modules.
func New(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k}
	if err := k.Resolve(&r.module); err != nil {
		return nil, err
	}
	l := &r.module
	switch {
	case l.Memory.Has():
		if err := r.resolveMemory(); err != nil {
			return nil, err
		}
	case !l.Core.Has() || !l.CoreSize.Has():
		return nil, fmt.Errorf("struct module has none of mem, core_layout and module_core: %w", kernel.ErrNotFound)
	}
	if l.Kallsyms.Has() {
		// A module without symbols is better than none.
		r.symbols = k.Resolve(&r.kallsyms) == nil
	}
	r.sections.resolve(k)
	return r, nil
}

// resolveMemory names the elements of mem[] by enum mod_mem_type.
func (r *Reader) resolveMemory() error {
	if err := r.k.Resolve(&r.memory); err != nil {
		return err
	}
	r.kinds = make([]string, r.module.Memory.Len()/r.memory.Size())
	copy(r.kinds, []string{"text", "data", "rodata", "ro_after_init", "init_text", "init_data", "init_rodata"}) // 6.4
	types, err := r.k.Info().Type("enum mod_mem_type")
	if err != nil {
		return nil
	}
	for _, e := range types.Enumerators() {
		if name, ok := strings.CutPrefix(e.Name, "MOD_"); ok && e.Value >= 0 && e.Value < int64(len(r.kinds)) {
			r.kinds[e.Value] = strings.ToLower(name)
		}
	}
	return nil
}

// regions are the parts of a module's memory that are there.
func (r *Reader) regions(b []byte) (list []Region) {
	l := &r.module
	add := func(kind string, addr, size, text uint64) {
		if addr != 0 && size != 0 {
			list = append(list, Region{Range{addr, size}, kind, Range{addr, min(text, size)}})
		}
	}
	if !l.Memory.Has() {
		core, init := uint64(l.CoreSize.Get(b)), uint64(l.InitSize.Or0(b))
		add("core", l.Core.Get(b), core, textSize(l.CoreText, b, core))
		add("init", l.Init.Or0(b), init, textSize(l.InitText, b, init))
		return list
	}
	for i, kind := range r.kinds {
		m := l.Memory.Get(b)[i*r.memory.Size():]
		size, text := uint64(r.memory.Bytes.Get(m)), uint64(0)
		if strings.HasSuffix(kind, "text") {
			text = size
		}
		add(kind, r.memory.Base.Get(m), size, text)
	}
	return list
}

// textSize is how much of a region holds code: all of it may where the types
// do not tell.
func textSize(f kernel.U32, b []byte, region uint64) uint64 {
	if !f.Has() {
		return region
	}
	return uint64(f.Get(b))
}

// sectionsLayout is struct module_sect_attrs with its elements, which is
// private to the kernel's module code.
type sectionsLayout struct {
	attrs   uint64 // offset of the first element
	stride  uint64
	name    uint64 // offset in an element of the pointer to the name
	address uint64 // offset in an element
	count   uint64 // offset of the number of elements
	// pointers is set since 6.14, where count is instead the offset of a
	// pointer to an array of pointers, one for each element and NULL.
	pointers bool
	known    bool
}

// resolve looks up the members. What changed: a section's name is its
// element's own until 5.7, then that of its attribute; since 6.14 the elements
// are the attributes themselves, with the address as private data.
func (l *sectionsLayout) resolve(k *kernel.Kernel) {
	t, err := k.Info().Type("struct module_sect_attrs")
	if err != nil {
		return
	}
	attrs, err := t.Field("attrs")
	if err != nil || attrs.Type.Strip().Kind != ctype.Array {
		return
	}
	elem := attrs.Type.Strip().Elem()
	name, ok := first(elem, "name", "battr.attr.name", "attr.name")
	address, found := first(elem, "address", "private")
	count, counted := first(t, "nsections", "grp.bin_attrs_new", "grp.bin_attrs")
	if !ok || !found || !counted || elem.Size() <= 0 {
		return
	}
	*l = sectionsLayout{attrs: uint64(attrs.Offset), stride: uint64(elem.Size()), name: name, address: address,
		count: count, pointers: !t.HasField("nsections"), known: true}
}

// first is the offset of the first member of those named that a type has.
func first(t *ctype.Type, paths ...string) (offset uint64, ok bool) {
	for _, path := range paths {
		if f, err := t.Field(path); err == nil {
			return uint64(f.Offset), true
		}
	}
	return 0, false
}
