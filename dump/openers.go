package dump

import (
	"strings"
	"sync"
)

// openers are the registered schemes.
var openers struct {
	sync.RWMutex
	of map[string]Opener
}

// RegisterOpener has Open read the URLs of a scheme ("https", in lower case) by
// fn, in place of whoever did it before. Packages that read remote dumps call it
// when they are imported. What fn fails with is what Open fails with, in a
// *FileError.
func RegisterOpener(scheme string, fn Opener) {
	openers.Lock()
	defer openers.Unlock()
	if openers.of == nil {
		openers.of = map[string]Opener{}
	}
	openers.of[scheme] = fn
}

// openerFor returns the scheme of a URL and who opens it; the scheme is empty
// for the name of a file.
func openerFor(path string) (open Opener, scheme string) {
	scheme, _, ok := strings.Cut(path, "://")
	if !ok || scheme == "" || strings.ContainsFunc(scheme, notScheme) {
		return nil, ""
	}
	scheme = strings.ToLower(scheme)
	openers.RLock()
	defer openers.RUnlock()
	return openers.of[scheme], scheme
}

// notScheme tells the characters that no scheme has (RFC 3986, 3.1).
func notScheme(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && !(r >= '0' && r <= '9') && r != '+' && r != '-' && r != '.'
}
