package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmortem/mortem/analysis/dentry"
)

func (a *app) dentryCommand() *cobra.Command {
	var children bool
	c := &cobra.Command{
		Use:   "dentry [flags] DUMP... ADDRESS|PATH",
		Short: "Decode one dentry, by its address or its path",
		Long: "dentry decodes one struct dentry: path, name and hash, flags, references, inode,\n" +
			"super_block, its bucket and its place in the chain, the LRU, its parent and how many\n" +
			"children it has. A path is looked up among the dentries in the dump, as a process of the\n" +
			"first mount namespace and of init_net sees it, across mounts; symbolic links are not\n" +
			"followed. Special characters may be given in the escaped form in which mortem shows them.",
		Example: "  mortem dentry --vmlinux vmlinux vmcore /proc/sys/net/ipv6\n" +
			"  mortem dentry --vmlinux vmlinux --children vmcore 0xffff888004c3e6c0",
		Args: atLeast(2, "the dump, or the address or path of the dentry,"),
		RunE: func(_ *cobra.Command, args []string) error {
			target := args[len(args)-1]
			return a.withKernel(args[:len(args)-1], func(s *session) error {
				d, err := dentry.Find(s.fs, target)
				if errors.Is(err, dentry.ErrTarget) {
					return usage("%w", err)
				} else if err != nil {
					return named(err)
				}
				opt := dentry.Options{}
				if children {
					opt.Children = -1
				}
				r, err := dentry.Describe(s.fs, d, opt)
				if err != nil {
					return unusable(err)
				}
				return a.answer(r, &r.Coverage, func(w *printer) { printDentry(w, r) })
			})
		},
	}
	c.Flags().BoolVar(&children, "children", false, "list the children")
	a.kernelFlags(c.Flags())
	return c
}

func printDentry(w *printer, r *dentry.Report) {
	w.table(func(w *printer) {
		w.line("DENTRY\t%s", r.Addr)
		w.line("path\t%s", r.Path)
		w.line("name\t%s, hash %s", r.Name, r.Hash)
		w.line("flags\t%#x: %s", r.Flags, strings.Join(r.FlagNames, " "))
		w.line("references\t%d", r.Count)
		w.line("inode\t%s", inodeLine(r.Inode))
		w.line("super_block\t%s: s_id %s, type %s", r.SuperBlock.Addr, r.SuperBlock.ID, r.SuperBlock.Type)
		w.line("parent\t%s", r.Parent)
		if r.Operations != "" {
			w.line("operations\t%s", r.Operations)
		}
		w.line("hash chain\t%s", chainLine(r))
		w.line("LRU\t%s", lruLine(r))
		w.line("children\t%d", r.Children)
	})
	if len(r.List) == 0 {
		return
	}
	w.line("")
	w.table(func(w *printer) {
		w.line("CHILD\tCOUNT\tSTATE\tNAME")
		for _, c := range r.List {
			w.line("%s\t%d\t%s\t%s", c.Addr, c.Count, childState(c), c.Name)
		}
	})
}

func inodeLine(i *dentry.Inode) string {
	if i == nil {
		return "none: a negative dentry"
	}
	return fmt.Sprintf("%s: number %d, %s, mode %s, links %d, references %d, %d bytes",
		i.Addr, i.Number, i.Type, i.Mode, i.Links, i.Count, i.Bytes)
}

func chainLine(r *dentry.Report) string {
	switch {
	case !r.Hashed:
		return "not hashed"
	case r.Place == nil:
		return fmt.Sprintf("bucket %d at %s, but it was not found there", *r.Bucket, *r.BucketAddr)
	}
	return fmt.Sprintf("bucket %d at %s, %d dentries before it, %d in all", *r.Bucket, *r.BucketAddr, *r.Place, *r.Length)
}

func lruLine(r *dentry.Report) string {
	switch {
	case r.OnLRU && r.Referenced:
		return "on it, referenced"
	case r.OnLRU:
		return "on it"
	}
	return "not on it"
}

func childState(c dentry.Child) string {
	state := "positive"
	if c.Negative {
		state = "negative"
	}
	if !c.Hashed {
		state += ", unhashed"
	}
	if c.OnLRU {
		state += ", on the LRU"
	}
	return state
}
