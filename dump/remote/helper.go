package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/kmortem/mortem/dump"
)

// HelperName is the program that reads from the clouds for those who do not
// carry the clouds' libraries. It is looked for beside the running program, and
// then in PATH.
//
// It is called with a URL as its argument, and serves the object under an
// http:// URL on a port of this machine that nobody can guess, until its
// standard input ends. What it has to say is one line of JSON on its standard
// output: a Serving.
const HelperName = "mortem-cloud"

// Serving is the line that the helper prints.
type Serving struct {
	URL   string `json:"url,omitempty"`   // where it serves the object
	Name  string `json:"name,omitempty"`  // of the object, without secrets
	Error string `json:"error,omitempty"` // why it does not
}

func init() {
	for _, scheme := range []string{"s3", "gs", "azblob"} {
		dump.RegisterOpener(scheme, func(ctx context.Context, url string, o dump.OpenerOptions) (dump.Source, error) {
			return openByHelper(ctx, url, Options{CacheDir: o.CacheDir, Progress: o.Progress})
		})
	}
}

// errNoHelper is the cause where the helper is not installed.
var errNoHelper = errors.New("it is neither beside this program nor in PATH")

// openByHelper opens a URL through the helper.
func openByHelper(ctx context.Context, address string, opt Options) (dump.Source, error) {
	path, err := findHelper()
	if err != nil {
		return dump.Source{}, fmt.Errorf("reading it needs the program %s: %w", HelperName, err)
	}
	h, err := startHelper(ctx, path, address)
	if err != nil {
		return dump.Source{}, err
	}
	src, err := openHTTP(ctx, h.serving.URL, h.serving.Name, opt)
	if err != nil {
		return dump.Source{}, errors.Join(err, h.Close())
	}
	src.Closer = closers{src.Closer, h}
	return src, nil
}

// findHelper looks for the helper.
func findHelper() (string, error) {
	name := HelperName
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if own, err := os.Executable(); err == nil {
		if path := filepath.Join(filepath.Dir(own), name); isProgram(path) {
			return path, nil
		}
	}
	path, err := exec.LookPath(HelperName)
	if err != nil {
		return "", errNoHelper
	}
	return path, nil
}

func isProgram(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && (runtime.GOOS == "windows" || st.Mode()&0o111 != 0)
}

// helper is the running program.
type helper struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	serving Serving
}

// startHelper starts the helper and reads its line.
func startHelper(ctx context.Context, path, address string) (*helper, error) {
	h := &helper{cmd: exec.CommandContext(ctx, path, address)}
	stdin, err := h.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.stdin, h.cmd.Stderr = stdin, os.Stderr
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(io.LimitReader(stdout, 1<<16)).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &h.serving)
	}
	if err == nil && h.serving.Error != "" {
		err = errors.New(h.serving.Error)
	} else if err == nil && !onThisMachine(h.serving.URL) {
		err = fmt.Errorf("%s names the URL %q", HelperName, h.serving.URL)
	} else if err != nil {
		err = fmt.Errorf("%s says nothing of use: %w", HelperName, err)
	}
	if err != nil {
		_ = h.Close() // its exit status says no more than this
		return nil, err
	}
	return h, nil
}

func onThisMachine(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "http" && u.Hostname() == "127.0.0.1"
}

// Close ends the helper.
func (h *helper) Close() error {
	_ = h.stdin.Close() // it sees the end of its input
	return h.cmd.Wait()
}

type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, one := range c {
		if one != nil {
			errs = append(errs, one.Close())
		}
	}
	return errors.Join(errs...)
}
