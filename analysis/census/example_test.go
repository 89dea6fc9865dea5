package census_test

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func ExampleDentries() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	r, err := census.Dentries(context.Background(), fs, census.Options{Top: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	d := r.Directories[0]
	fmt.Println(d.Path, "has", d.Negative, "names that do not exist, most of them", d.Pattern)
	for _, c := range r.Counters {
		fmt.Println(c.Name, c.Kernel == c.Counted)
	}
	// Output:
	// /mnt/etc/pki/nssdb has 22000 names that do not exist, most of them .<n>_dOeSnotExist_.db
	// nr_dentry true
	// nr_dentry_unused true
	// nr_dentry_negative true
}

func ExampleInodes() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	r, err := census.Inodes(context.Background(), fs, census.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range r.Deleted[:2] {
		fmt.Println(d.Path, d.Type, d.Size, "bytes")
	}
	// Output:
	// /run/gone-exe regular file 3104894 bytes
	// /mnt/held/open-deleted.db regular file 20000 bytes
}
