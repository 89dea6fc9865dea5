package debuginfo

import (
	"strings"

	"github.com/kmortem/mortem/kernel/ctype"
)

// spelling is a name under which a type may be found.
type spelling struct {
	kind ctype.Kind
	name string
}

// spellings tells under which names a type is looked for, best first. C has
// many spellings of one base type; gcc writes "long unsigned int" where clang
// writes "unsigned long".
func spellings(name string) []spelling {
	words := strings.Fields(name)
	if len(words) == 2 {
		switch words[0] {
		case "struct":
			return []spelling{{ctype.Struct, words[1]}}
		case "union":
			return []spelling{{ctype.Union, words[1]}}
		case "enum":
			return []spelling{{ctype.Enum, words[1]}}
		}
	}
	list := []spelling{{ctype.Typedef, strings.Join(words, " ")}}
	for _, other := range baseSpellings(words) {
		if other != list[0].name {
			list = append(list, spelling{ctype.Typedef, other})
		}
	}
	return list
}

// baseSpellings gives the compilers' spellings of C's integer and floating
// types, nil for words that name none.
func baseSpellings(words []string) []string {
	count := map[string]int{}
	for _, w := range words {
		count[w]++
	}
	signed, unsigned := count["signed"] > 0, count["unsigned"] > 0
	long, short := count["long"], count["short"]
	known := count["signed"] + count["unsigned"] + long + short + count["int"] + count["char"] + count["double"]
	if known != len(words) || known == 0 {
		return nil
	}
	switch {
	case count["double"] > 0:
		return []string{strings.Repeat("long ", min(long, 1)) + "double"}
	case count["char"] > 0:
		return []string{pick(unsigned, "unsigned char", pick(signed, "signed char", "char"))}
	case short > 0:
		return []string{pick(unsigned, "short unsigned int", "short int"), pick(unsigned, "unsigned short", "short")}
	case long == 1:
		return []string{pick(unsigned, "long unsigned int", "long int"), pick(unsigned, "unsigned long", "long")}
	case long == 2:
		return []string{pick(unsigned, "long long unsigned int", "long long int"), pick(unsigned, "unsigned long long", "long long")}
	}
	return []string{pick(unsigned, "unsigned int", "int"), pick(unsigned, "unsigned", "int")}
}

func pick(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}
