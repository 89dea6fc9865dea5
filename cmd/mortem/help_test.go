package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands calls f with each command that has something to do.
func commands(t *testing.T, f func(t *testing.T, c *cobra.Command)) {
	root := newRoot(&bytes.Buffer{}, &bytes.Buffer{})
	var each func(list []*cobra.Command)
	each = func(list []*cobra.Command) {
		for _, c := range list {
			t.Run(strings.TrimPrefix(c.CommandPath(), "mortem "), func(t *testing.T) { f(t, c) })
			each(c.Commands())
		}
	}
	each(root.Commands())
}

// TestReadmeNamesCommands: README's table has every command.
func TestReadmeNamesCommands(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands(t, func(t *testing.T, c *cobra.Command) {
		name := "`" + c.CommandPath() + " "
		if c.Parent().HasParent() { // slab's are in its line
			name = "`" + strings.TrimPrefix(c.CommandPath(), "mortem ") + "`"
		}
		if !strings.Contains(string(readme), name) {
			t.Errorf("README.md has no %s", name)
		}
	})
}

// crashLetters are the commands whose short flags are those of crash's command of that name,
// which calls the same by different letters in each.
var crashLetters = map[string]bool{"bt": true, "ps": true}

// TestSameFlags: a flag of one name is of one kind and has one short form wherever it is, but
// where crash's habits are kept, and no command has one of its own that all of them have.
func TestSameFlags(t *testing.T) {
	seen := make(map[string]*pflag.Flag)
	commands(t, func(t *testing.T, c *cobra.Command) {
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if all := c.Root().PersistentFlags().Lookup(f.Name); all != nil && !all.Hidden {
				t.Errorf("--%s means something else than it does for all commands", f.Name)
			}
			switch other := seen[f.Name]; {
			case other == nil:
				seen[f.Name] = f
			case f.Name == "raw":
			case other.Value.Type() != f.Value.Type() || other.Shorthand != f.Shorthand && !crashLetters[c.Name()]:
				t.Errorf("--%s is -%s %s here, -%s %s elsewhere", f.Name, f.Shorthand, f.Value.Type(), other.Shorthand, other.Value.Type())
			}
		})
	})
}

// TestExamples: the command lines in the help are of the command, and it takes their flags
// and as many arguments.
func TestExamples(t *testing.T) {
	commands(t, func(t *testing.T, c *cobra.Command) {
		if c.Example == "" || c.Short == "" || c.Long == "" {
			t.Errorf("the help is not whole: %q, %q, %q", c.Short, c.Long, c.Example)
		}
		for line := range strings.Lines(c.Example) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " | ")
			rest, ok := strings.CutPrefix(line, c.CommandPath()+" ")
			if !ok {
				if !strings.HasPrefix(line, "mortem "+c.Name()+" ") { // one of a command below
					t.Errorf("%q is no example of %s", line, c.CommandPath())
				}
				continue
			}
			c, args := c, words(rest)
			if below, more, err := c.Find(args); err == nil && below != c {
				c, args = below, more
			}
			if err := c.ParseFlags(args); err != nil {
				t.Errorf("%q: %v", line, err)
				continue
			}
			if c.Args != nil {
				if err := c.Args(c, c.Flags().Args()); err != nil {
					t.Errorf("%q: %v", line, err)
				}
			}
		}
	})
}

// words divides a command line as the shell does, as far as the examples need it.
func words(line string) []string {
	var list []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			list = append(list, part)
		} else {
			list = append(list, strings.Fields(part)...)
		}
	}
	return list
}
