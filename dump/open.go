package dump

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"
)

// Option changes how Open works.
type Option func(*options)

type options struct {
	cache    budget
	noMap    bool
	raw      bool
	rawStart uint64
	noScan   bool
	cacheDir string
	progress func(Progress)
	ctx      context.Context
}

// WithCache sets the memory of the cache of decompressed pages, in bytes. Without
// it the cache begins with 16 MiB and doubles while that spares a good part of the
// work, up to an eighth of the machine's memory, but to 256 MiB at least and 1 GiB
// at most. What is walked at random and is larger than a few times the cache, as
// millions of dentries in their hash chains, does not make it grow: a cache that
// holds all of it is faster by an order of magnitude, and has to be asked for.
func WithCache(bytes int64) Option { return func(o *options) { o.cache = fixed(bytes) } }

// WithoutMapping reads files with system calls instead of mapping them. It is
// slower, and a file that is cut short meanwhile gives plain errors.
func WithoutMapping() Option { return func(o *options) { o.noMap = true } }

func gather(opts []Option) *options {
	o := &options{}
	for _, opt := range opts {
		opt(o)
	}
	if o.ctx == nil {
		o.ctx = context.Background()
	}
	if o.cache.most <= 0 {
		o.cache = defaultCache()
	}
	return o
}

// Open opens a dump: one ELF or kdump-compressed file, plain or flattened, or
// the parts of a dump that makedumpfile --split wrote, in any order. Given one
// part of a split dump only, it looks for the others among the files of the
// same directory whose names differ in one number from that of the given one.
//
// A name may also be that of a pipe, or "-" for standard input: what comes from
// there is read to its end into a file. A file that is packed as a whole by
// gzip, xz, zstd or bzip2 is unpacked into the cache directory, where it stays
// for the next time. A URL is read over the network, if a package is imported
// that does so (dump/remote for https).
//
// Opening reads headers, bitmaps and notes, of a flattened file also the head
// of each record. Errors are *FileError values: ErrFormat for what is no dump,
// ErrUnsupported for a dump of a kind that is not read, ErrDamaged for one of
// which nothing can be read. A dump that has lost its end is opened; then
// Facts.Incomplete is set.
//
// Where the headers have no VMCOREINFO, as those of LiME, AVML, VMware and plain
// images and of many that QEMU writes, Open looks for it in memory, which takes
// as long as reading the file up to the place where it is, without the holes of a
// sparse file: WithProgress tells how far that is, WithoutScan leaves it out.
func Open(paths []string, opts ...Option) (Image, error) {
	o := gather(opts)
	if len(paths) == 0 {
		return nil, &FileError{File: "(no file)", Offset: -1, Kind: ErrFormat, What: "no dump file was named"}
	}
	var stores []store
	for _, path := range paths {
		s, err := openAny(path, o)
		if err != nil {
			_ = closeAll(stores)
			return nil, err
		}
		stores = append(stores, s)
	}
	if len(stores) == 1 {
		stores = append(stores, findSiblings(stores[0], o.noMap)...)
		stores = append(stores, vmSiblings(stores[0], o.noMap)...)
	}
	return openStores(stores, o)
}

// OpenSources is Open for bytes that are no local files: one source, or the
// parts of a split dump. The sources' closers are called when the Image is
// closed or when opening fails. Errors are those of Open.
func OpenSources(sources []Source, opts ...Option) (Image, error) {
	o := gather(opts)
	var stores []store
	for _, src := range sources {
		stores = append(stores, &readerStore{Source: src})
	}
	for i, s := range stores {
		u, err := unflatten(s)
		if err != nil {
			_ = closeAll(stores)
			return nil, err
		}
		stores[i] = u
	}
	if len(stores) == 0 {
		return nil, &FileError{File: "(no source)", Offset: -1, Kind: ErrFormat, What: "no dump was given"}
	}
	return openStores(stores, o)
}

// openDump opens a file and looks through flattening.
func openDump(path string, noMap bool) (store, error) {
	s, err := openStore(path, noMap)
	if err != nil {
		return nil, err
	}
	u, err := unflatten(s)
	if err != nil {
		_ = s.close() // opened for reading only
		return nil, err
	}
	return u, nil
}

// unflatten puts the reader of flattened files before a file that is one.
func unflatten(s store) (u store, err error) {
	err = Guard(func() error {
		u = s
		if !isFlattened(headOf(s)) {
			return nil
		}
		flat, err := openFlattened(s)
		if err == nil {
			u = flat
		}
		return err
	})
	return u, err
}

// openStores looks at the magic of the files and opens them as what they are.
func openStores(stores []store, o *options) (img Image, err error) {
	err = Guard(func() error {
		img, err = dispatch(stores, o)
		return err
	})
	if err == nil {
		img.Facts().tellOrigins(stores)
		err = findVMCoreInfo(img, o)
	}
	switch {
	case err == nil:
		return img, nil
	case img != nil:
		_ = img.Close() // opened for reading only
	default:
		_ = closeAll(stores)
	}
	return nil, err
}

// dispatch is the one place that knows which format begins how. A new format
// gets its case here.
func dispatch(stores []store, o *options) (Image, error) {
	first := stores[0]
	head := headOf(first)
	switch {
	case o.raw:
		return single(stores, o, "a raw image", openRaw)
	case isKdump(head):
		for _, s := range stores[1:] {
			if h := headOf(s); isELF(h) {
				return nil, &FileError{File: s.name(), Offset: -1, Kind: ErrFormat,
					What: fmt.Sprintf("an ELF dump, no part of the kdump file %s", first.name())}
			} else if !isKdump(h) {
				return nil, notADump(s.name(), h)
			}
		}
		return openKdump(stores, o)
	case isELF(head):
		return single(stores, o, "an ELF dump", openELF)
	case limeOrder(head) != nil:
		return single(stores, o, "a LiME image", openLiME)
	case isAVML(head):
		return single(stores, o, "an AVML image", openAVML)
	case isVMware(stores):
		return openVMware(stores, o)
	}
	if flatCut(first) != "" {
		return nil, damaged(first, 0, "the header of the dump in it, which was to be written at the end, is not there")
	}
	return nil, notADump(first.name(), head)
}

// single opens a dump of a format that has one file only.
func single(stores []store, o *options, what string, open func(store, *options) (Image, error)) (Image, error) {
	if len(stores) > 1 {
		return nil, &FileError{File: stores[1].name(), Offset: -1, Kind: ErrFormat,
			What: fmt.Sprintf("%s is %s, which has one file only", stores[0].name(), what)}
	}
	return open(stores[0], o)
}

// headOf returns the first bytes of a file, or fewer if it is shorter.
func headOf(s store) []byte {
	const enough = 4096
	head, err := s.view(0, int(min(enough, s.size())), nil)
	if err != nil {
		return nil
	}
	return head
}

// foreign are the kinds of files that are known by their first bytes and not
// read.
var foreign = []struct {
	magic string
	kind  error
	what  string
}{
	{diskdumpSignature, ErrUnsupported, "a diskdump file of the RHEL 3 and 4 times; crash reads it"},
	{"\xed\x23\x8f\x61\x73\x01\x19\xa8", ErrUnsupported, "an LKCD dump; lcrash and old versions of crash read it"},
	{"\xa8\x19\x01\x73\x61\x8f\x23\xed", ErrUnsupported, "an LKCD dump of a big-endian machine; lcrash and old versions of crash read it"},
	{"\xa8\x19\x01\x73\x61\x8f\x23\xfd", ErrUnsupported, "an s390 stand-alone dump; convert it with zgetdump -f elf"},
	{"sadump\x00\x00", ErrUnsupported, "a dump of Fujitsu's sadump; convert it with makedumpfile"},
	{"LibvirtQemudSave", ErrUnsupported, "a saved state of libvirt; dump the machine with virsh dump --memory-only instead"},
	{"LibvirtQemudPart", ErrUnsupported, "an unfinished saved state of libvirt; dump the machine with virsh dump --memory-only instead"},
	{"QEVM", ErrUnsupported, "a saved state of QEMU; dump the machine with dump-guest-memory instead"},
	{"QFI\xfb", ErrFormat, "a qcow2 disk image; the dump is a file inside of it"},
	{"PAGEDUMP", ErrUnsupported, "a dump of 32-bit Windows"},
	{"PAGEDU64", ErrUnsupported, "a dump of 64-bit Windows"},
	{"\x1f\x8b", ErrUnsupported, "a file packed by gzip; unpack it first"},
	{"\xfd7zXZ\x00", ErrUnsupported, "a file packed by xz; unpack it first"},
	{"\x28\xb5\x2f\xfd", ErrUnsupported, "a file packed by zstd; unpack it first"},
	{"BZh", ErrUnsupported, "a file packed by bzip2; unpack it first"},
	{"PK\x03\x04", ErrUnsupported, "a zip archive; unpack it first"},
}

// notADump names what a file is that is no dump.
func notADump(name string, head []byte) error {
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return &FileError{File: name, Offset: -1, Kind: f.kind, What: f.what}
		}
	}
	what := fmt.Sprintf("it begins with the bytes % x, which no dump format does", head[:min(8, len(head))])
	switch {
	case isTar(head):
		return &FileError{File: name, Offset: -1, Kind: ErrUnsupported, What: "a tar archive; unpack it first"}
	case isVMGuest(name, head):
		return &FileError{File: name, Offset: -1, Kind: ErrUnsupported,
			What: "the processors' state beside VMware's debug.vmem; crash reads it. Suspend the machine or take a snapshot, and give its .vmss or .vmsn with the .vmem"}
	case looksLikeText(head):
		what = "a text file (the kernel log beside the dump?); give the vmcore itself"
	case allZero(head):
		what = "it begins with zeros only; a raw memory image, or a copy that failed"
	}
	return &FileError{File: name, Offset: -1, Kind: ErrFormat, What: what}
}

// isForeign tells the kinds of files that notADump names by a magic number.
func isForeign(head []byte) bool {
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return true
		}
	}
	return isTar(head)
}

func isTar(head []byte) bool { return len(head) > 262 && string(head[257:262]) == "ustar" }

// looksLikeText tells whether the beginning of a file is text.
func looksLikeText(head []byte) bool {
	if len(head) == 0 {
		return false
	}
	for rest := head; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			return len(rest) < utf8.UTFMax && len(rest) < len(head) // cut within a character
		case r < ' ' && r != '\n' && r != '\t' && r != '\r' && r != '\f' && r != 0x1b:
			return false
		}
		rest = rest[n:]
	}
	return true
}

func allZero(head []byte) bool {
	return len(bytes.TrimLeft(head, "\x00")) == 0
}

// storeVariant is what Facts.Variant says about the way a file is stored.
func storeVariant(s store) []string {
	var list []string
	if from := originOf(s); from != nil && from.how != "" {
		list = append(list, from.how)
	}
	if _, ok := s.(*flatStore); ok {
		list = append(list, "flattened")
	}
	return list
}
