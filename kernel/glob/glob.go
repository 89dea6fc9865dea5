// Package glob matches names of tasks and functions with patterns.
package glob

import "strings"

// Is tells whether a name is a pattern: it has a * or a ?.
func Is(name string) bool { return strings.ContainsAny(name, "*?") }

// Match tells whether a name fits a pattern as a whole: * stands for any number of bytes,
// slashes included, and ? for one. All else stands for itself.
func Match(pattern, name string) bool {
	star, back := -1, 0 // the last * and what it stands for up to
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, back = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			back++
			p, n = star+1, back
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
