package glob_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/kmortem/mortem/kernel/glob"
)

func ExampleMatch() {
	fmt.Println(glob.Match("kworker/*", "kworker/u8:3"), glob.Match("kworker/?:*", "kworker/u8:3"))
	// Output: true false
}

func ExampleIs() {
	fmt.Println(glob.Is("kworker/*"), glob.Is("kworker/0:1"))
	// Output: true false
}

// TestMatchIsARegexp compares with the regular expression that a pattern stands for, for
// all short patterns and names of few letters.
func TestMatchIsARegexp(t *testing.T) {
	var words func(letters string, n int) []string
	words = func(letters string, n int) []string {
		list := []string{""}
		if n == 0 {
			return list
		}
		for _, rest := range words(letters, n-1) {
			for _, c := range letters {
				list = append(list, string(c)+rest)
			}
		}
		return list
	}
	names := words("ab/", 4)
	for _, pattern := range words("ab*?", 4) {
		re := regexp.MustCompile("(?s)^" + strings.NewReplacer("*", ".*", "?", ".").Replace(pattern) + "$")
		for _, name := range names {
			if got := glob.Match(pattern, name); got != re.MatchString(name) {
				t.Fatalf("%q and %q: %v", pattern, name, got)
			}
		}
	}
}

func TestIs(t *testing.T) {
	if glob.Is("kworker/0:1") || !glob.Is("kw*") || !glob.Is("init?") {
		t.Error("a pattern is a name with * or ?")
	}
}
