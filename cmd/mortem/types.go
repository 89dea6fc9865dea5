package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/expr"
)

// typeResult is the answer of "mortem type" as JSON.
type typeResult struct {
	Name        string       `json:"name"`
	Size        int64        `json:"size"`             // bytes
	Offset      *int64       `json:"offset,omitempty"` // in bytes, of a member that was asked for
	Declaration string       `json:"declaration"`
	Members     []typeMember `json:"members,omitempty"`
	Constants   []constant   `json:"constants,omitempty"`
	infoState
}

// infoState says what is to be held against the debug information that an answer is by.
type infoState struct {
	// Mismatch says how it differs from the dumped kernel where --force let that pass.
	Mismatch string `json:"debuginfo_mismatch,omitempty"`
	// Damage says what of it cannot be read.
	Damage string `json:"debuginfo_damage,omitempty"`
}

func stateOf(k *kernel.Kernel) infoState { return infoState{k.Mismatch(), k.Damage()} }

// status is the exit status that damage leads to.
func (s infoState) status() error {
	if s.Damage != "" {
		return statusOnly(exitPartly)
	}
	return nil
}

type typeMember struct {
	Name   string `json:"name"` // empty for an anonymous structure
	Type   string `json:"type"`
	Offset int64  `json:"offset"` // bytes
	Size   int64  `json:"size"`   // bytes
	Bit    *uint8 `json:"bit,omitempty"`
	Bits   uint8  `json:"bits,omitempty"`
}

type constant struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
}

func (a *app) typeCommand() *cobra.Command {
	var opt ctype.PrintOptions
	c := &cobra.Command{
		Use:   "type [flags] [DUMP...] TYPE",
		Short: "Print a type of the kernel as C, with offsets and sizes",
		Long: "type prints the definition of a struct, union, enum or typedef as C, with the offset and\n" +
			"size in bytes of every member, bit-fields with their first bit, and holes; or of a member\n" +
			"its place and type. With --vmlinux it needs no dump; with a dump it knows the types of\n" +
			"loaded modules too.",
		Example: "  mortem type --vmlinux vmlinux 'struct dentry'\n" +
			"  mortem type vmcore enum pageflags\n" +
			"  mortem type vmcore task_struct.se.vruntime",
		Args: atLeast(1, "the type"),
		RunE: func(c *cobra.Command, args []string) error {
			files, name := splitType(args)
			types, state, done, err := a.openTypes(files)
			if err != nil {
				return err
			}
			defer done()
			t, member, err := lookupMember(types, name)
			if err != nil {
				return err
			}
			var text bytes.Buffer
			if member != nil {
				fmt.Fprintln(&text, memberPlace(name, member, opt.Hex))
			}
			if err := ctype.Print(&text, t, opt); err != nil {
				return unusable(err)
			}
			r := describeType(t, name, text.String())
			if member != nil {
				r.Offset = &member.Offset
			}
			r.infoState = state
			err = a.print(r, func(w *printer) { w.line("%s", strings.TrimSuffix(text.String(), "\n")) })
			return cmp.Or(err, state.status())
		},
	}
	c.Flags().BoolVar(&opt.Plain, "plain", false, "leave out offsets, sizes and holes")
	c.Flags().BoolVar(&opt.Expand, "expand", false, "write out the members of structs that are members")
	c.Flags().BoolVar(&opt.Hex, "hex", false, "print offsets and sizes in hexadecimal")
	a.kernelFlags(c.Flags())
	return c
}

// typeFinder finds types by name: debug information, or a kernel with modules.
type typeFinder interface {
	Type(name string) (*ctype.Type, error)
}

// openTypes opens debug information alone where --vmlinux names it, and
// otherwise what goes with the dump.
func (a *app) openTypes(files []string) (typeFinder, infoState, func(), error) {
	if len(files) == 0 {
		if a.vmlinux == "" {
			return nil, infoState{}, nil, usage("either a dump or --vmlinux is needed; see 'mortem type --help'")
		}
		info, err := debuginfo.Open(a.vmlinux, a.infoOptions()...)
		if err != nil {
			return nil, infoState{}, nil, unusable(err)
		}
		state := infoState{}
		if a.warnDamage(info) {
			state.Damage = debuginfo.DamageOf(info).Error()
		}
		return info, state, func() { _ = info.Close() }, nil // opened for reading only
	}
	s, err := a.open(files)
	if err != nil {
		return nil, infoState{}, nil, err
	}
	return s.kernel, stateOf(s.kernel), s.close, nil
}

// splitType tells the files of a dump from the name of a type behind them, which
// may be of two words.
func splitType(args []string) (files []string, name string) {
	last := len(args) - 1
	if last > 0 && slices.Contains([]string{"struct", "union", "enum"}, args[last-1]) {
		if _, err := os.Stat(args[last-1]); errors.Is(err, os.ErrNotExist) {
			return args[:last-1], args[last-1] + " " + args[last]
		}
	}
	return args[:last], args[last]
}

// lookupMember finds a type, or the type of a member, as in "struct dentry.d_name.hash".
func lookupMember(types typeFinder, name string) (*ctype.Type, *ctype.Field, error) {
	if strings.TrimSpace(name) == "" {
		return nil, nil, usage("a type is needed; see 'mortem type --help'")
	}
	name, path, within := strings.Cut(name, ".")
	t, err := lookupType(types, name)
	if err != nil {
		return nil, nil, named(err)
	}
	if !within {
		return t, nil, nil
	}
	f, err := t.Field(strings.TrimSpace(path))
	if err != nil {
		return nil, nil, usage("%w", err)
	}
	return f.Type, &f, nil
}

// memberPlace says where a member is.
func memberPlace(name string, f *ctype.Field, hex bool) string {
	format := "%s is at offset %d, size %d"
	if hex {
		format = "%s is at offset %#x, size %#x"
	}
	text := fmt.Sprintf(format, name, f.Offset, f.Type.Size())
	if f.BitSize != 0 {
		text += fmt.Sprintf(", bit %d, %d bits", f.BitOffset, f.BitSize)
	}
	return text + ":"
}

// lookupType finds a type by its C name, also without the word struct, union
// or enum where that leaves no doubt.
func lookupType(types typeFinder, name string) (*ctype.Type, error) {
	name = strings.TrimSuffix(strings.Join(strings.Fields(name), " "), ";")
	t, err := types.Type(name)
	if err == nil {
		return t, nil
	}
	for _, word := range []string{"struct ", "union ", "enum "} {
		if t, tagErr := types.Type(word + name); tagErr == nil {
			return t, nil
		}
	}
	return nil, err
}

func describeType(t *ctype.Type, name, text string) typeResult {
	r := typeResult{Name: name, Size: t.Size(), Declaration: text}
	body := t.Strip()
	for _, m := range body.Members() {
		member := typeMember{Name: m.Name, Type: m.Type.String(), Offset: m.Offset, Size: m.Type.Size(), Bits: m.BitSize}
		if m.BitSize != 0 {
			bit := m.BitOffset
			member.Bit = &bit
		}
		r.Members = append(r.Members, member)
	}
	for _, e := range body.Enumerators() {
		r.Constants = append(r.Constants, constant{e.Name, e.Value})
	}
	return r
}

// evalResult is the answer of "mortem eval" as JSON.
type evalResult struct {
	Expr  string       `json:"expr"`
	Type  string       `json:"type"`
	Addr  *kernel.Addr `json:"addr,omitempty"` // of an object in memory
	Value string       `json:"value"`          // as C
	Error string       `json:"error,omitempty"`
	infoState
}

func (a *app) evalCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "eval [flags] DUMP... EXPRESSION",
		Short: "Evaluate a C expression over the dumped kernel's memory",
		Long: "eval evaluates an expression of C over the dump: variables, members, indices, casts,\n" +
			"dereferences, addresses, sizeof, arithmetic and comparisons; the kernel's\n" +
			"container_of(pointer, type, member), offsetof(type, member) and per_cpu(variable, cpu);\n" +
			"and gdb's object@n, an array of n elements. A function stands for its address.",
		Example: "  mortem eval --vmlinux vmlinux vmcore init_task.comm\n" +
			"  mortem eval --vmlinux vmlinux vmcore '((struct dentry *)0xffff888004c3e6c0)->d_name'\n" +
			"  mortem eval --vmlinux vmlinux vmcore 'container_of(super_blocks.next, struct super_block, s_list)->s_id'",
		Args: atLeast(2, "the dump or the expression"),
		RunE: func(c *cobra.Command, args []string) error {
			text := args[len(args)-1]
			return a.withKernel(args[:len(args)-1], func(s *session) error {
				return a.eval(s, text)
			})
		},
	}
	a.kernelFlags(c.Flags())
	return c
}

func (a *app) eval(s *session, text string) error {
	v, err := expr.Eval(s.kernel, text)
	if syntax := (*expr.SyntaxError)(nil); errors.As(err, &syntax) {
		return usage("%w", err)
	} else if err != nil {
		return named(err)
	}
	var out bytes.Buffer
	unread := expr.Format(&out, s.kernel, v)
	r := evalResult{Expr: text, infoState: stateOf(s.kernel), Type: v.Type().String(), Value: strings.TrimSuffix(out.String(), "\n")}
	head := fmt.Sprintf("(%s)", r.Type)
	if o := v.Object(); o != nil {
		addr := kernel.Addr(o.Addr())
		r.Addr = &addr
		head += fmt.Sprintf(" at %s", addr)
	}
	if unread != nil {
		r.Error = unread.Error()
	}
	if err := a.print(r, func(w *printer) { w.line("%s = %s", head, r.Value) }); err != nil {
		return err
	}
	if unread != nil {
		a.warn("a part could not be read: %v", unread)
		return statusOnly(exitPartly)
	}
	return r.status()
}
