package dump

import "encoding/binary"

// FormatRaw is memory without any header: the offset in the file and that of
// WithRawMemory give the physical address.
const FormatRaw Format = "raw memory"

// WithRawMemory says that the file is memory from physical address start on,
// one byte behind the other without a header, as QEMU's pmemsave, LiME's
// "padded" format and dd of /dev/mem write it. Nothing in such a file tells
// that it is one, so that this must be said.
func WithRawMemory(start uint64) Option {
	return func(o *options) { o.raw, o.rawStart = true, start }
}

func openRaw(s store, opt *options) (Image, error) {
	img := newSpanImage(s, rawFacts(s, FormatRaw, binary.LittleEndian))
	claims := &spanClaims{fileSize: uint64(s.size())}
	claims.add(opt.rawStart, 0, claims.fileSize, claims.fileSize)
	img.setSpans(claims)
	img.finish(opt)
	return img, nil
}
