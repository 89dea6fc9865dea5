//go:build !(linux || darwin || freebsd)

package unpack

import "context"

// lock lets each process unpack for itself.
func lock(context.Context, string) (unlock func(), err error) { return func() {}, nil }
