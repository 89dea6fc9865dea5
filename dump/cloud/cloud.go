// Package cloud has dump.Open read dumps in the clouds' object stores:
// s3://bucket/key, gs://bucket/key, azblob://container/key. Only the parts that
// are asked for are moved; see package remote.
//
// It is a module of its own, so that programs which read local dumps do not
// carry the clouds' libraries. The command mortem-cloud in it reads for programs
// that do without them. Credentials come from where each cloud's own
// tools take them: ~/.aws and AWS_… variables, Google's application default
// credentials, AZURE_STORAGE_… variables. The query of a URL is that of
// gocloud.dev/blob: s3://bucket/key?region=eu-west-1&profile=support.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	azure "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"gocloud.dev/gcerrors"

	"github.com/kmortem/mortem/dump/remote"
)

func init() {
	for _, scheme := range []string{"s3", "gs", "azblob"} {
		remote.Register(scheme, Open)
	}
}

// object is one object of a bucket.
type object struct {
	name   string
	bucket *blob.Bucket
	key    string
	attr   *blob.Attributes
}

// Open opens the object at a URL. It fails where the URL names none, where the
// bucket cannot be reached, and where the object is not there or not to be read.
func Open(ctx context.Context, address string) (remote.Object, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("it is not a URL of an object")
	}
	key := strings.TrimPrefix(u.Path, "/")
	if u.Host == "" || key == "" {
		return nil, fmt.Errorf("the URL names no object; it should be %s://bucket/key", u.Scheme)
	}
	place := url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: u.RawQuery}
	bucket, err := blob.OpenBucket(ctx, place.String())
	if err != nil {
		return nil, err
	}
	o := &object{name: u.Scheme + "://" + u.Host + "/" + key, bucket: bucket, key: key}
	if o.attr, err = bucket.Attributes(ctx, key); err != nil {
		return nil, errors.Join(explain(err), bucket.Close())
	}
	return o, nil
}

// Name implements remote.Object.
func (o *object) Name() string { return o.name }

// Size implements remote.Object.
func (o *object) Size() int64 { return o.attr.Size }

// Version implements remote.Object.
func (o *object) Version() string {
	if o.attr.ETag != "" {
		return o.attr.ETag
	}
	if o.attr.ModTime.IsZero() {
		return ""
	}
	return o.attr.ModTime.UTC().Format(time.RFC3339Nano)
}

// Range implements remote.Object.
func (o *object) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	r, err := o.bucket.NewRangeReader(ctx, o.key, off, n, nil)
	if err != nil {
		return nil, explain(err)
	}
	if o.changed(r) {
		_ = r.Close() // nothing of it is wanted
		return nil, remote.ErrChanged
	}
	return r, nil
}

// changed tells whether a reader reads another object than the one that was
// opened.
func (o *object) changed(r *blob.Reader) bool {
	if r.Size() != o.attr.Size || !r.ModTime().IsZero() && !r.ModTime().Truncate(time.Second).Equal(o.attr.ModTime.Truncate(time.Second)) {
		return true
	}
	etag := o.attr.ETag
	var ofS3 s3.GetObjectOutput
	var ofAzure azure.DownloadStreamResponse
	switch {
	case r.As(&ofS3) && ofS3.ETag != nil:
		etag = *ofS3.ETag
	case r.As(&ofAzure) && ofAzure.ETag != nil:
		etag = string(*ofAzure.ETag)
	}
	return etag != o.attr.ETag
}

// Close implements remote.Object.
func (o *object) Close() error { return o.bucket.Close() }

// explain says what may be done about an error. The clouds' libraries have
// tried again already where that helps.
func explain(err error) error {
	what := ""
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		what = "there is no such object"
	case gcerrors.PermissionDenied:
		what = "access is denied; are these the right credentials?"
	case gcerrors.InvalidArgument, gcerrors.FailedPrecondition, gcerrors.Unimplemented:
		what = "the store refuses"
	default:
		return err
	}
	return &remote.PermanentError{Err: fmt.Errorf("%s: %w", what, err)}
}
