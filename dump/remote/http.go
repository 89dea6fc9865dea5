package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/unpack"
)

// client makes all requests. It verifies certificates, and asks the proxy that
// the environment names.
var client = &http.Client{Transport: func() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true // ranges are of the file as it is
	t.MaxIdleConnsPerHost = parallelRequests
	t.ResponseHeaderTimeout = stalled
	return t
}()}

// Open opens the dump at an https:// or http:// URL. A user and password in the
// URL, or those of the host in ~/.netrc (or the file that $NETRC names), are
// sent to the host of the URL. From a server that does not give parts of a file
// all of it is fetched into the cache directory, to be removed at the end. Errors
// are *dump.FileError values. The context is of opening and of all reads.
func Open(ctx context.Context, address string, opt Options) (dump.Source, error) {
	return openHTTP(ctx, address, "", opt)
}

// openHTTP is Open of an object under a name of its own, if that is not empty.
func openHTTP(ctx context.Context, address, name string, opt Options) (dump.Source, error) {
	opt = opt.withDefaults()
	h, err := newHTTP(address)
	if err != nil {
		return dump.Source{}, err
	}
	if name != "" {
		h.name = name
	}
	resp, requests, err := h.first(ctx, opt.BlockSize)
	if err != nil {
		return dump.Source{}, h.explain(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return h.download(ctx, resp, requests, opt)
	case http.StatusRequestedRangeNotSatisfiable: // of an empty file any range
		return dump.Source{}, h.explain(&dump.FileError{File: h.name, Offset: -1, Kind: dump.ErrFormat, What: "the file is empty"})
	}
	if err := h.learn(resp); err != nil {
		return dump.Source{}, h.explain(err)
	}
	r := NewReader(ctx, h, opt)
	r.asked.Add(requests)
	data := make([]byte, r.blockLen(0))
	if _, err := io.ReadFull(resp.Body, data); err == nil {
		r.seed(data)
	}
	return r.Source(), nil
}

// seed lands the first block, which came in answer to the first request.
func (r *Reader) seed(data []byte) {
	r.moved.Add(int64(len(data)))
	r.mu.Lock()
	r.hot.put(0, data)
	r.mu.Unlock()
	if !r.disk.has(0) {
		r.disk.write(0, data)
	}
}

// httpObject is a file on an HTTP server that gives parts of it (RFC 9110,
// section 14).
type httpObject struct {
	name     string // without secrets
	base     *url.URL
	user     *url.Userinfo
	now      atomic.Pointer[url.URL] // where redirections led to
	size     int64
	etag     string
	modified string
}

func newHTTP(address string) (*httpObject, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, &dump.FileError{File: "the URL", Offset: -1, What: "it is not a URL of a file on a server"}
	}
	h := &httpObject{base: u, user: u.User}
	u.User = nil
	if h.user == nil {
		h.user = netrc(u.Hostname())
	}
	u.Fragment = ""
	shown := *u
	if shown.RawQuery != "" {
		shown.RawQuery = "…" // signatures
	}
	h.name = shown.Scheme + "://" + shown.Host + shown.EscapedPath()
	return h, nil
}

// explain makes a FileError of an error.
func (h *httpObject) explain(err error) error {
	var fe *dump.FileError
	if errors.As(err, &fe) {
		return err
	}
	return &dump.FileError{File: h.name, Offset: -1, What: err.Error(), Err: err}
}

// first asks for the first block, to see what the server makes of it.
func (h *httpObject) first(ctx context.Context, n int64) (*http.Response, int64, error) {
	in := &input{}
	for requests := int64(1); ; requests++ {
		resp, err := h.get(ctx, 0, n)
		if err == nil {
			return resp, requests, nil
		}
		if err := in.pause(ctx, err); err != nil {
			return nil, requests, err
		}
	}
}

// get makes one request. Statuses that are neither 200 nor 206 nor 416 are
// errors.
func (h *httpObject) get(ctx context.Context, off, n int64) (*http.Response, error) {
	at := h.now.Load()
	if at == nil {
		at = h.base
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, &PermanentError{err}
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	req.Header.Set("Accept-Encoding", "identity")
	if v := h.validator(); v != "" {
		req.Header.Set("If-Range", v)
	}
	if h.user != nil && at.Host == h.base.Host && at.Scheme == h.base.Scheme {
		password, _ := h.user.Password()
		req.SetBasicAuth(h.user.Username(), password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, requestError(err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		h.now.Store(resp.Request.URL)
		return resp, nil
	}
	resp.Body.Close()
	if at != h.base {
		h.now.Store(nil) // where it led to may be good for a while only
		return nil, &statusError{resp}
	}
	return nil, statusOf(resp)
}

// validator is what If-Range may name: only a strong ETag tells bytes.
func (h *httpObject) validator() string {
	if h.etag != "" && !strings.HasPrefix(h.etag, "W/") {
		return h.etag
	}
	if h.etag == "" {
		return h.modified
	}
	return ""
}

// learn takes size and version from the first answer.
func (h *httpObject) learn(resp *http.Response) error {
	start, _, size, err := contentRange(resp)
	if err != nil {
		return err
	}
	if start != 0 {
		return &PermanentError{errors.New("the server gives other bytes than it was asked for")}
	}
	h.size, h.etag, h.modified = size, resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	return nil
}

// Range implements Object.
func (h *httpObject) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	resp, err := h.get(ctx, off, n)
	if err != nil {
		return nil, err
	}
	if err := h.check(resp, off); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

// check compares an answer with the first one.
func (h *httpObject) check(resp *http.Response, off int64) error {
	if resp.StatusCode != http.StatusPartialContent {
		return ErrChanged // If-Range: all of another file
	}
	start, _, size, err := contentRange(resp)
	switch {
	case err != nil:
		return err
	case size != h.size || resp.Header.Get("ETag") != h.etag,
		h.etag == "" && resp.Header.Get("Last-Modified") != h.modified:
		return ErrChanged
	case start != off:
		return &PermanentError{errors.New("the server gives other bytes than it was asked for")}
	}
	return nil
}

// contentRange reads "bytes 0-99/1000".
func contentRange(resp *http.Response) (start, end, size int64, err error) {
	text := resp.Header.Get("Content-Range")
	bad := &PermanentError{fmt.Errorf("the server's answer has the Content-Range %q, which does not tell the size", text)}
	part, total, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	from, to, ok2 := strings.Cut(part, "-")
	if !ok || !ok2 {
		return 0, 0, 0, bad
	}
	for _, f := range []struct {
		text string
		to   *int64
	}{{from, &start}, {to, &end}, {total, &size}} {
		if *f.to, err = strconv.ParseInt(f.text, 10, 64); err != nil || *f.to < 0 {
			return 0, 0, 0, bad
		}
	}
	if start > end || end >= size || size > 1<<55 {
		return 0, 0, 0, bad
	}
	return start, end, size, nil
}

// Name implements Object.
func (h *httpObject) Name() string { return h.name }

// Size implements Object.
func (h *httpObject) Size() int64 { return h.size }

// Version implements Object.
func (h *httpObject) Version() string {
	if h.etag != "" {
		return h.etag
	}
	return h.modified
}

// Close implements Object.
func (h *httpObject) Close() error { return nil }

// statusError is an answer that gives nothing.
type statusError struct{ resp *http.Response }

func statusOf(resp *http.Response) error {
	err := &statusError{resp}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return err
	case http.StatusPreconditionFailed:
		return ErrChanged
	}
	return &PermanentError{err}
}

func (e *statusError) Error() string {
	what := ""
	switch e.resp.StatusCode {
	case http.StatusUnauthorized:
		what = "; a user and password are needed, in the URL or in ~/.netrc"
	case http.StatusForbidden:
		what = "; access is denied, or a signed URL has expired"
	case http.StatusNotFound, http.StatusGone:
		what = "; there is no such file"
	}
	return "the server answers " + strings.TrimSpace(e.resp.Status) + what
}

// Pause is what the server asks for in Retry-After, in seconds or as a time.
func (e *statusError) Pause() time.Duration {
	text := e.resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}

// requestError takes the URL, with its secrets, out of an error, and tells
// whether trying again may help.
func requestError(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var certificate *tls.CertificateVerificationError
	var name *net.DNSError
	if errors.As(err, &certificate) || errors.As(err, &name) && name.IsNotFound {
		return &PermanentError{err}
	}
	return err
}

// download fetches a file from a server that does not give parts of it.
func (h *httpObject) download(ctx context.Context, resp *http.Response, requests int64, opt Options) (dump.Source, error) {
	what := "downloading " + h.name + ", of which its server does not give parts"
	res, err := unpack.Spool(ctx, resp.Body, unpack.Options{Dir: opt.CacheDir, Progress: func(done, _ int64) {
		opt.Progress(dump.Progress{What: what, Done: done, Total: max(0, resp.ContentLength)})
	}})
	if err != nil {
		return dump.Source{}, h.explain(fmt.Errorf("its server does not give parts of it, and fetching all of it fails: %w", err))
	}
	return openDownload(res, h.name, requests)
}
