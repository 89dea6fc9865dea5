package remote

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kmortem/mortem/dump/internal/disk"
)

// The blocks of an object are kept in one file: a head, for each block eight
// bytes (its CRC-32C and a mark), and the blocks at their places, which are
// holes in the file until they are written. The sum is compared whenever a
// block is read. So several processes may use a file at once without locks, and
// one that dies while it writes does no harm.
const (
	diskMagic = "mortem blocks 1\n"
	diskHead  = 4096
	diskEntry = 8
	diskMark  = 0x6b636c62
	suffix    = ".blocks"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// diskCache is the file of one object. A nil diskCache keeps nothing.
type diskCache struct {
	file      *os.File
	dir       string
	blockSize int64
	dataAt    int64
	limit     int64 // of all files together

	mu     sync.Mutex
	used   int64 // by this file
	others int64 // by the others
	full   bool
}

// openDisk opens or makes the file of an object; nil where that cannot be done
// or is not wanted: keeping blocks saves time and is not needed.
func openDisk(obj Object, o Options) *diskCache {
	if o.Disk < 0 || obj.Version() == "" || obj.Size() > 1<<50 {
		return nil
	}
	base := o.CacheDir
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil
		}
		base = filepath.Join(user, "mortem")
	}
	dir := filepath.Join(base, "remote")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil
	}
	id := fmt.Sprintf("%s%s\n%s\n%d\n%d\n", diskMagic, obj.Name(), obj.Version(), obj.Size(), o.BlockSize)
	sum := sha256.Sum256([]byte(id))
	path := filepath.Join(dir, hex.EncodeToString(sum[:20])+suffix)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil
	}
	blocks := (obj.Size() + o.BlockSize - 1) / o.BlockSize
	d := &diskCache{file: f, dir: dir, blockSize: o.BlockSize, limit: o.Disk,
		dataAt: (diskHead + blocks*diskEntry + diskHead - 1) / diskHead * diskHead}
	if !d.begin(id) {
		_ = f.Close() // nothing was written
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // only the order of removal depends on it
	d.used, d.others = usage(dir, filepath.Base(path))
	if free, ok := disk.Free(dir); ok {
		d.limit = min(d.limit, d.used+d.others+free/2)
	}
	return d
}

// begin compares the head of the file, or writes it.
func (d *diskCache) begin(id string) bool {
	head := make([]byte, diskHead)
	copy(head, id)
	got := make([]byte, diskHead)
	if n, _ := d.file.ReadAt(got, 0); n == diskHead && string(got) == string(head) {
		return true
	}
	if err := d.file.Truncate(0); err != nil {
		return false
	}
	_, err := d.file.WriteAt(head, 0)
	return err == nil
}

// has tells whether a block seems to be there.
func (d *diskCache) has(i int64) bool {
	_, ok := d.sum(i)
	return ok
}

func (d *diskCache) sum(i int64) (uint32, bool) {
	if d == nil {
		return 0, false
	}
	var entry [diskEntry]byte
	if _, err := d.file.ReadAt(entry[:], diskHead+i*diskEntry); err != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint32(entry[:]), binary.LittleEndian.Uint32(entry[4:]) == diskMark
}

// read returns a block, nil if it is not there.
func (d *diskCache) read(i, size int64) []byte {
	sum, ok := d.sum(i)
	if !ok {
		return nil
	}
	data := make([]byte, size)
	if _, err := d.file.ReadAt(data, d.dataAt+i*d.blockSize); err != nil || crc32.Checksum(data, castagnoli) != sum {
		return nil
	}
	return data
}

// write keeps a block, if there is room.
func (d *diskCache) write(i int64, data []byte) {
	if d == nil || !d.room(int64(len(data))) {
		return
	}
	var entry [diskEntry]byte
	binary.LittleEndian.PutUint32(entry[:], crc32.Checksum(data, castagnoli))
	binary.LittleEndian.PutUint32(entry[4:], diskMark)
	_, err := d.file.WriteAt(data, d.dataAt+i*d.blockSize)
	if err == nil {
		_, err = d.file.WriteAt(entry[:], diskHead+i*diskEntry)
	}
	if err != nil {
		d.mu.Lock()
		d.full = true // the disk, or the user's share of it
		d.mu.Unlock()
	}
}

// room makes room for n bytes by removing other files, and tells whether there
// is any.
func (d *diskCache) room(n int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.full && d.used+d.others+n > d.limit {
		freed := removeOldest(d.dir, filepath.Base(d.file.Name()))
		d.full = freed < 0
		d.others -= max(0, freed)
	}
	if !d.full {
		d.used += n
	}
	return !d.full
}

func (d *diskCache) close() {
	if d != nil {
		_ = d.file.Close() // what was not written is fetched again
	}
}

// usage is what a file takes of the disk, and what the others do.
func usage(dir, own string) (used, others int64) {
	for _, f := range blockFiles(dir) {
		if f.Name() == own {
			used += onDisk(f)
		} else {
			others += onDisk(f)
		}
	}
	return used, others
}

// removeOldest removes the file that was not opened for the longest time, other
// than the own one. It returns the bytes that this frees, negative if there is
// no such file. A process that has it open goes on using it.
func removeOldest(dir, own string) int64 {
	var oldest os.FileInfo
	for _, f := range blockFiles(dir) {
		if f.Name() != own && (oldest == nil || f.ModTime().Before(oldest.ModTime())) {
			oldest = f
		}
	}
	if oldest == nil || os.Remove(filepath.Join(dir, oldest.Name())) != nil {
		return -1
	}
	return onDisk(oldest)
}

func blockFiles(dir string) []os.FileInfo {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []os.FileInfo
	for _, e := range entries {
		if st, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), suffix) {
			list = append(list, st)
		}
	}
	return list
}
