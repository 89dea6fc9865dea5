// Package expr evaluates C expressions over the memory of a dumped kernel:
//
//	init_task.comm
//	((struct dentry *)0xffff888004c3e6c0)->d_name.name
//	*(struct list_head *)super_blocks.next
//	container_of(super_blocks.next, struct super_block, s_list)->s_id
//	per_cpu(nr_dentry, 1)
//	sizeof(struct page) * 512
//	offsetof(struct dentry, d_name.hash)
//	init_task.cpus_mask.bits[0]@2
//
// There are the operators of C that only read: member, index, dereference,
// address, cast, sizeof, and arithmetic and comparisons of integers and pointers.
// All integers have 64 bits: what is narrower in memory, also where it is unsigned
// there, is taken as the number that it is. container_of, offsetof and per_cpu are what they are
// in the kernel; a@n is gdb's, an array of n elements that begins at a. && || ?:
// are missing, for both sides would be read.
package expr

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
)

// Value is what an expression stands for: an object in the dumped memory, or a
// number with a type, such as a constant, an address or a sum.
type Value struct {
	object *kernel.Object // nil for a number
	typ    *ctype.Type
	number uint64
}

// Object is the object in memory that the value is, nil for a number.
func (v Value) Object() *kernel.Object { return v.object }

// Type is the value's C type.
func (v Value) Type() *ctype.Type { return v.typ }

// Uint is the value as an unsigned number of 64 bits: an integer with its sign
// extended, or an address. Structures and arrays have none. The error says so,
// or is a *kernel.ReadError where the value lies in memory that cannot be read.
func (v Value) Uint() (uint64, error) {
	if v.object == nil {
		return v.number, nil
	}
	if v.typ.Strip().Kind == ctype.Array {
		return v.object.Addr(), nil // an array stands for its first element's address
	}
	if signed(v.typ) {
		n, err := v.object.Int()
		return uint64(n), err
	}
	return v.object.Uint()
}

func signed(t *ctype.Type) bool {
	t = t.Strip()
	return (t.Kind == ctype.Int || t.Kind == ctype.Enum) && t.Signed
}

// promoted tells whether a type takes part in arithmetic as signed: so does all that
// fits into 64 bits with a sign.
func promoted(t *ctype.Type) bool {
	t = t.Strip()
	return (t.Kind == ctype.Int || t.Kind == ctype.Enum) && (t.Signed || t.Bytes < 8)
}

// SyntaxError is an expression that cannot be understood.
type SyntaxError struct {
	Expr string
	At   int // offset in Expr, in bytes
	What string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	const around = 60
	part := e.Expr[max(0, e.At-around):min(len(e.Expr), e.At+around)]
	return fmt.Sprintf("expression %q, column %d: %s", part, e.At+1, e.What)
}

// maxLength bounds an expression, and maxNesting how deep it may go.
const (
	maxLength  = 4096
	maxNesting = 64
)

// Eval evaluates an expression. Names are those of the kernel's global
// variables and types. Errors are a *SyntaxError, a name that is not there
// (kernel.ErrNotFound), or memory that cannot be read (*kernel.ReadError).
func Eval(k *kernel.Kernel, text string) (Value, error) {
	if len(text) > maxLength {
		return Value{}, &SyntaxError{Expr: text[:64] + "…", What: "it is too long"}
	}
	p := &parser{k: k, lexer: lexer{text: text}}
	p.next()
	v, err := p.binary(0)
	if err != nil {
		return Value{}, err
	}
	if p.err != nil {
		return Value{}, p.err
	}
	if p.tok.kind != end {
		return Value{}, p.fail("%q is not expected here", p.tok.text)
	}
	return v, nil
}
