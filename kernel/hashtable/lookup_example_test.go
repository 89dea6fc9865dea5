package hashtable_test

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel/hashtable"
)

func ExampleLookup() {
	preset, err := hashtable.Lookup("dentry")
	fmt.Println(preset.Name, err)
	_, err = hashtable.Lookup("nothing")
	fmt.Println(errors.Is(err, hashtable.ErrUnknown), len(hashtable.Presets()) > 10)
	// Output:
	// dentry <nil>
	// true true
}
