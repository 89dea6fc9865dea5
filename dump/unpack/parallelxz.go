package unpack

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"

	"github.com/kmortem/mortem/dump/decompress"
)

// unpackBlocks unpacks the blocks of an .xz file of size bytes on all
// processors.
func unpackBlocks(ctx context.Context, blocks []decompress.XZBlock, size int64, out *writer, progress func(done, total int64)) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		next  int
		done  int64
		first error // of the block with the lowest number
		at    = len(blocks)
	)
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			next++
		}
		return next - 1
	}
	finish := func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		done += blocks[i].Packed
		if err != nil && i < at {
			at, first = i, err
			next = len(blocks) + 1 // nobody takes another one
		}
		if progress != nil && err == nil {
			progress(done, size)
		}
	}
	for range min(runtime.GOMAXPROCS(0), len(blocks)) {
		wg.Go(func() {
			for i := take(); i < len(blocks); i = take() {
				finish(i, unpackBlock(ctx, &blocks[i], out))
			}
		})
	}
	wg.Wait()
	if first != nil {
		out.cut(blocks[at].Start)
	}
	return first
}

// unpackBlock unpacks one block to its place.
func unpackBlock(ctx context.Context, b *decompress.XZBlock, out *writer) error {
	in := &meter{ctx: ctx, r: b.File()}
	plain, err := decompress.Reader(in, decompress.XZ)
	if err == nil {
		defer plain.Close()
		// The reader compares the length with the index, at the end; until
		// then nothing may be written behind the block's place.
		err = pour(io.NewOffsetWriter(&bounded{out, b.Start + b.Size}, b.Start), plain)
	}
	return blame(err, in, out)
}

// bounded refuses to write behind an end.
type bounded struct {
	w   io.WriterAt
	end int64
}

func (b *bounded) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.end {
		return 0, errors.New("a block unpacks to more than its index says")
	}
	return b.w.WriteAt(p, off)
}
