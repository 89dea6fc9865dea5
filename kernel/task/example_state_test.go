package task_test

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel/task"
)

// The letters of ps, the names of crash and those of the kernel mean the same.
func ExampleStateLetter() {
	for _, name := range []string{"D", "UN", "nonsense"} {
		letter, ok := task.StateLetter(name)
		fmt.Println(name, letter, ok)
	}
	// Output:
	// D D true
	// UN D true
	// nonsense  false
}

func ExampleStates() {
	fmt.Println(strings.Join(task.States(), ", "))
	// Output: R (running), S (sleeping), D (uninterruptible), I (idle), T (stopped), t (traced), P (parked), N (new), Z (zombie), X (dead)
}
