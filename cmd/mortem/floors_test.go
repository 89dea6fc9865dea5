package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the module's top folders, from the lowest up.
var floors = []string{"dump", "kernel", "analysis", "cmd"}

// TestImportsPointDown: no package imports one of a floor above its own, as README says, and
// what is for tests is imported by tests alone.
func TestImportsPointDown(t *testing.T) {
	const module = "github.com/kmortem/mortem/"
	root := filepath.Join("..", "..")
	checked := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() && (rel == "dump/cloud" || entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && rel != ".") {
			return fs.SkipDir // another module, or no code of ours
		}
		floor, below, _ := strings.Cut(rel, "/")
		own := slices.Index(floors, floor)
		if entry.IsDir() || own < 0 || !strings.HasSuffix(rel, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		test := strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(below, "kerneltest/")
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			inside, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			checked++
			above, _, _ := strings.Cut(inside, "/")
			if slices.Index(floors, above) > own && !test { // a test may ask more than its package can
				t.Errorf("%s imports %s, which is above", rel, inside)
			}
			if !test && (above == "fixtures" || inside == "kernel/kerneltest") {
				t.Errorf("%s imports %s, which is for tests", rel, inside)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 1000 {
		t.Errorf("only %d imports were checked", checked)
	}
}
