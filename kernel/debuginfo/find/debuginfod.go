package find

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kmortem/mortem/dump/cache"
)

// maxDownload bounds a file from a server.
const maxDownload = 16 << 30

// debuginfod asks the servers for the debug file of the build id. It uses the
// cache of elfutils' client, debuginfod-client-config(7): a directory for each
// build id, with the file "debuginfo" in it.
func (s *search) debuginfod() bool {
	if len(s.BuildID) == 0 {
		return false
	}
	id := hex.EncodeToString(s.BuildID)
	dir, err := clientCache()
	if err != nil {
		return false
	}
	cached := filepath.Join(dir, id, "debuginfo")
	if cache.Has(cached) {
		if s.try(cached) == nil {
			return true
		}
	} else {
		s.note(cached, "not there")
	}
	if s.Offline {
		return false
	}
	for _, url := range s.servers() {
		place := strings.TrimSuffix(url, "/") + "/buildid/" + id + "/debuginfo"
		if err := s.download(place, cached); err != nil {
			s.note(place, err.Error())
			continue
		}
		if s.try(cached) == nil {
			return true
		}
	}
	return false
}

// servers are the URLs to ask. DEBUGINFOD_URLS can have words of another kind,
// such as ima:enforcing.
func (s *search) servers() []string {
	list := s.URLs
	if list == nil {
		list = strings.Fields(os.Getenv("DEBUGINFOD_URLS"))
	}
	var urls []string
	for _, u := range list {
		if strings.HasPrefix(u, "http://") || strings.HasPrefix(u, "https://") {
			urls = append(urls, u)
		}
	}
	return urls
}

// clientCache is the directory in which elfutils' client keeps files.
func clientCache() (string, error) {
	if dir := os.Getenv("DEBUGINFOD_CACHE_PATH"); dir != "" {
		return dir, nil
	}
	if home, err := os.UserHomeDir(); err == nil {
		old := filepath.Join(home, ".debuginfod_client_cache")
		if info, err := os.Stat(old); err == nil && info.IsDir() {
			return old, nil
		}
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "debuginfod_client"), err
}

// client gives up on servers that do not answer, as elfutils' does after 90 s
// by default, but lets large files take their time.
var client = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 20 * time.Second}).DialContext,
	TLSHandshakeTimeout:   20 * time.Second,
	ResponseHeaderTimeout: 90 * time.Second,
	DisableCompression:    false,
}}

// errNotThere is a server's answer that it does not have a file.
var errNotThere = errors.New("not there")

// download fetches a file to its place in the cache.
func (s *search) download(url, path string) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "mortem")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotFound:
		return errNotThere
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("the server answered %s", response.Status)
	case response.ContentLength > maxDownload:
		return fmt.Errorf("the server offers %d bytes, which is too much", response.ContentLength)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	body := &progressReader{r: io.LimitReader(response.Body, maxDownload), what: url, total: max(response.ContentLength, 0), report: s.Progress, stalled: cancel}
	return cache.Write(path, func(f *os.File) error {
		n, err := io.Copy(f, body.watched())
		if err == nil && response.ContentLength > 0 && n != response.ContentLength {
			err = fmt.Errorf("%d of %d bytes came", n, response.ContentLength)
		}
		return err
	})
}

// stallTime is how long a download may stand still.
const stallTime = 60 * time.Second

// progressReader reports how far a reader has come, and ends what stands
// still.
type progressReader struct {
	r       io.Reader
	what    string
	done    int64
	total   int64
	report  func(what string, done, total int64)
	stalled func()
	timer   *time.Timer
}

func (p *progressReader) watched() io.Reader {
	if p.stalled != nil {
		p.timer = time.AfterFunc(stallTime, p.stalled)
	}
	return p
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.done += int64(n)
	if p.timer != nil {
		p.timer.Reset(stallTime)
		if err != nil {
			p.timer.Stop()
		}
	}
	if p.report != nil {
		p.report(p.what, p.done, p.total)
	}
	return n, err
}
