package remote

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Handler serves an object to a Reader over HTTP, in parts only, and of it each
// part that is asked for. The status of the answer tells the Reader of ErrChanged
// and of a *PermanentError; after any other error it asks again.
func Handler(obj Object) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		off, n, ok := askedRange(r.Header.Get("Range"), obj.Size())
		if !ok {
			http.Error(w, "ranges only", http.StatusRequestedRangeNotSatisfiable)
			return
		}
		body, err := obj.Range(r.Context(), off, n)
		if err != nil {
			http.Error(w, err.Error(), handlerStatus(err))
			return
		}
		defer body.Close()
		if v := obj.Version(); v != "" {
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(v))))
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, obj.Size()))
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.CopyN(w, body, n) // the reader sees that something is missing, and asks again
	})
}

// handlerStatus tells a Reader whether to try again.
func handlerStatus(err error) int {
	var permanent *PermanentError
	switch {
	case errors.Is(err, ErrChanged):
		return http.StatusPreconditionFailed
	case errors.As(err, &permanent):
		return http.StatusForbidden
	}
	return http.StatusBadGateway
}

// askedRange reads "bytes=0-99" for an object of a size.
func askedRange(text string, size int64) (off, n int64, ok bool) {
	from, to, _ := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	off, err := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	if err != nil || err2 != nil || off < 0 || off >= size || last < off {
		return 0, 0, false
	}
	return off, min(last, size-1) - off + 1, true
}
