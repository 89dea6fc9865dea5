package remote

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// netrc returns the user and password that ~/.netrc, or the file that $NETRC
// names, has for a host; nil if it has none. The format is that of ftp(1):
// words "machine HOST login USER password PASSWORD", or "default" in the place
// of machine and host.
func netrc(host string) *url.Userinfo {
	path := os.Getenv("NETRC")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		path = filepath.Join(home, ".netrc")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return parseNetrc(string(data), host)
}

func parseNetrc(text, host string) *url.Userinfo {
	words := strings.Fields(text)
	var user, password string
	ours := false
	for i := 0; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		switch words[i] {
		case "machine", "default":
			if ours && user != "" {
				return url.UserPassword(user, password)
			}
			if ours = words[i] == "default"; !ours {
				ours = value == host
				i++
			}
			user, password = "", ""
		case "login":
			user, i = value, i+1
		case "password":
			password, i = value, i+1
		case "account":
			i++
		}
	}
	if ours && user != "" {
		return url.UserPassword(user, password)
	}
	return nil
}
