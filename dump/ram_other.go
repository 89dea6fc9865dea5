//go:build !linux

package dump

// machineMemory is the size of this machine's memory in bytes, 0 if unknown.
func machineMemory() uint64 { return 0 }
