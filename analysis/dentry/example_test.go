package dentry_test

import (
	"fmt"

	"github.com/kmortem/mortem/analysis/dentry"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func ExampleDescribe() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	d, err := dentry.Find(fs, "/mnt/etc/pki/nssdb")
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := dentry.Describe(fs, d, dentry.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Path, report.Inode.Type, report.SuperBlock.Type, report.Children > 20000)
	// Output: /mnt/etc/pki/nssdb directory ext4 true
}
