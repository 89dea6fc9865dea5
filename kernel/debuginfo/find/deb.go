package find

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/kmortem/mortem/dump/decompress"
)

// A DEB package, deb(5), is an ar archive, whose member data.tar, with a suffix
// for its compression, has the files.
const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
)

// eachDEBMember walks the files of a DEB package.
func eachDEBMember(r io.ReaderAt, size int64, visit func(member) error) error {
	for at := int64(len(arMagic)); at+arHeaderSize <= size; {
		header := make([]byte, arHeaderSize)
		if _, err := r.ReadAt(header, at); err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimSpace(string(header[:16])), "/")
		length, err := strconv.ParseInt(strings.TrimSpace(string(header[48:58])), 10, 64)
		at += arHeaderSize
		if err != nil || string(header[58:]) != "`\n" || length < 0 || length > size-at {
			return fmt.Errorf("damaged DEB package: member at %#x", at-arHeaderSize)
		}
		if strings.HasPrefix(name, "data.tar") {
			data, err := decompress.File(io.NewSectionReader(r, at, length), length)
			if err != nil {
				return err
			}
			defer data.Close()
			return eachTarMember(data, visit)
		}
		at += length + length&1
	}
	return errors.New("DEB package without data")
}
