// Command mortem analyzes crash dumps of Linux kernels offline. See its help,
// and README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// The exit statuses, documented in the help and in README.md.
const (
	exitAnswered = 0 // the question was answered
	exitFinding  = 1 // answered, with a finding at or above --fail-on
	exitUsage    = 2 // the command line is wrong, or names what is not in the dump
	exitUnusable = 3 // the dump or its debug information cannot be used
	exitPartly   = 4 // answered in part: something could not be read
)

// exitError is an error with the exit status that it leads to.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// unusable makes an error that of a dump, or of debug information, that cannot be used.
func unusable(err error) error { return &exitError{exitUnusable, err} }

// named makes an error of a name that the user gave: one that is not in the
// dump is a wrong command line, anything else a dump that cannot be used.
func named(err error) error {
	if errors.Is(err, kernel.ErrNotFound) || errors.Is(err, vfs.ErrNoDentry) {
		return &exitError{exitUsage, err}
	}
	return unusable(err)
}

// statusOnly ends a command that has said everything with a status.
type statusOnly int

func (s statusOnly) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run carries out a command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	// A dump that is cut short while it is mapped must not crash the program.
	err := dump.Guard(func() error { return root.ExecuteContext(ctx) })
	var only statusOnly
	if err == nil {
		return exitAnswered
	}
	if errors.As(err, &only) {
		return int(only)
	}
	_, _ = fmt.Fprintf(stderr, "mortem: %v\n", err) // nowhere left to complain
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.status
	}
	return exitUnusable
}
