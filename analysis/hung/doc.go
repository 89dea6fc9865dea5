// Package hung answers who has been stuck for how long: tasks that do not leave the
// uninterruptible sleep, with who is to blame; processors that do not schedule, with
// what they run; and what the kernel's own watchdogs said about both in the log.
package hung
