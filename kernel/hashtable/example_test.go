package hashtable_test

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/hashtable"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func ExampleExpr() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	tables, err := hashtable.Expr(k, "init_net.dev_name_head", hashtable.Options{Buckets: 256, Entry: "struct netdev_name_node.hlist"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for c, err := range tables[0].Chains(0, tables[0].Buckets) {
		if err != nil {
			fmt.Println(err) // the rest of this chain cannot be reached; the others can
			continue
		}
		fmt.Println("bucket", c.Bucket, "holds", c.Length)
	}
	// Output: bucket 93 holds 1
}

func ExampleReader_Tables() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	r := hashtable.New(k)
	for _, p := range hashtable.Presets() {
		tables, err := r.Tables(p, 0)
		if err != nil && !hashtable.Absent(err) {
			fmt.Println(err)
		}
		for _, t := range tables {
			if p.Name == "inode" || p.Name == "neighbour" {
				fmt.Println(t.Name, t.Buckets, t.Head.Kind)
			}
		}
	}
	// Output:
	// inode 32768 hlist_head
	// neighbour 8 pointer
}

// What a user says about the entries of a table is looked at before the table is
// walked.
func ExampleCheckEntry() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	fmt.Println(hashtable.CheckEntry(k, "struct dentry.d_hash"))
	err := hashtable.CheckEntry(k, "struct dentrie.d_hash")
	fmt.Println(errors.Is(err, kernel.ErrNotFound))
	// Output:
	// <nil>
	// true
}
