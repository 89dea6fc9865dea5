package main

import (
	"errors"
	"math"
	"strconv"

	"github.com/spf13/pflag"
)

// most is the value of a flag that says how many of something are wanted, where 0 stands
// for all. The library takes a negative number for all.
type most struct{ n *int }

var _ pflag.Value = most{}

// mostFlag adds a flag of how many of something are wanted.
func mostFlag(fl *pflag.FlagSet, n *int, name string, usual int, text string) {
	*n = usual
	if usual == 0 {
		*n = -1
	}
	fl.Var(most{n}, name, text+"; 0 for all")
	fl.Lookup(name).DefValue = strconv.Itoa(usual)
}

// Set implements pflag.Value.
func (m most) Set(text string) error {
	n, err := count(text)
	if err == nil && n == 0 {
		n = -1
	}
	*m.n = n
	return err
}

// String implements pflag.Value.
func (m most) String() string {
	if m.n == nil || *m.n < 0 {
		return "0"
	}
	return strconv.Itoa(*m.n)
}

// Type implements pflag.Value.
func (m most) Type() string { return "number" }

// listed is the value of a flag that says how many of something are listed, where there
// may be none: -1 stands for all.
type listed struct{ n *int }

var _ pflag.Value = listed{}

// listedFlag adds a flag of how many of something are listed.
func listedFlag(fl *pflag.FlagSet, n *int, name string, usual int, text string) {
	*n = usual
	fl.Var(listed{n}, name, text+"; 0 for none, -1 for all")
}

// Set implements pflag.Value.
func (l listed) Set(text string) (err error) {
	if text == "-1" {
		*l.n = -1
		return nil
	}
	*l.n, err = count(text)
	return err
}

// String implements pflag.Value.
func (l listed) String() string { return strconv.Itoa(*l.n) }

// Type implements pflag.Value.
func (l listed) Type() string { return "number" }

// maxCount is the highest number that flags take. It is more than any dump holds of
// anything, and what is worked out from it does not overflow.
const maxCount = math.MaxInt32

// count reads a number that says how many.
func count(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return maxCount, nil
	case err != nil:
		return 0, errors.New("it takes a number from 0 on")
	}
	return int(min(n, maxCount)), nil
}
