package printk_test

import (
	"bytes"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/printk"
)

// open opens the log of a machine that crashed.
func open() (dump.Image, *printk.Log, error) {
	img, err := dump.Open([]string{"../../fixtures/data/kdump/vmcore.kdump.xz"})
	if err != nil {
		return nil, nil, err
	}
	m, err := kernel.OpenMemory(img)
	if err != nil {
		return img, nil, err
	}
	log, err := printk.Open(m)
	return img, log, err
}

func ExampleLog_Records() {
	img, log, err := open()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer img.Close()
	for r, err := range log.Records() {
		if err != nil {
			fmt.Println(err) // a part of the log that is lost; others follow
			continue
		}
		if r.Level == printk.LevelEmerg && bytes.HasPrefix(r.Text, []byte("Kernel panic")) {
			fmt.Println(r.Facility, r.Level, r.Show())
		}
	}
	// Output: kern emerg Kernel panic - not syncing: sysrq triggered crash
}

func ExampleClocks() {
	img, log, err := open()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer img.Close()
	clocks, err := printk.Clocks(img.Facts(), log.Records())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("best:", clocks[0].Method)
	// Output: best: CRASHTIME
}

func ExampleOpen() {
	log, err := printk.Open(kerneltest.ExampleMemory()) // as kernel.OpenMemory gives it
	if err != nil {
		panic(err)
	}
	for r, err := range log.Records() {
		fmt.Println(r.Facility, bytes.HasPrefix(r.Text, []byte("Linux version 6.1")), err)
		break // the first
	}
	// Output: kern true <nil>
}

// With debug information the log is found in dumps without VMCOREINFO too.
func ExampleOpenKernel() {
	log, err := printk.OpenKernel(kerneltest.ExampleKernel())
	if err != nil {
		panic(err)
	}
	fmt.Println(log.Form(), log.Numbered())
	// Output: printk_ringbuffer true
}

// The words that dmesg has for them.
func ExampleLevels() {
	fmt.Println(printk.Levels())
	// Output: [emerg alert crit err warn notice info debug]
}
