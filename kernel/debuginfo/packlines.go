package debuginfo

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/kmortem/mortem/kernel/debuginfo/dwarf"
)

// packedRow is a row of the line table of a whole kernel.
type packedRow struct {
	addr uint64
	file uint32 // index into the names of files; 0 where there is no code
	line uint32
}

// blockRows is how many rows are packed together.
const blockRows = 8192

// encodeLines writes a line table in blocks that are unpacked one by one, all
// numbers little-endian: the length of the names of files, these packed, the
// number of blocks; for each block its first address, length and number of
// rows; the blocks. A block has three columns: distances of addresses; changes
// of the file's number; changes of the line.
func encodeLines(each func(func(rows []dwarf.LineRow) bool) error) ([]byte, error) {
	files, rows, err := collectRows(each)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	var names []byte
	for _, f := range files {
		names = append(append(names, f...), 0)
	}
	le := binary.LittleEndian
	packed := enc.EncodeAll(names, nil)
	out := append(le.AppendUint32(nil, uint32(len(packed))), packed...)
	out = le.AppendUint32(out, uint32((len(rows)+blockRows-1)/blockRows))
	var blocks []byte
	for block := range slices.Chunk(rows, blockRows) {
		data := enc.EncodeAll(encodeBlock(block), nil)
		out = le.AppendUint64(out, block[0].addr)
		out = le.AppendUint32(out, uint32(len(data)))
		out = le.AppendUint32(out, uint32(len(block)))
		blocks = append(blocks, data...)
	}
	return append(out, blocks...), nil
}

// collectRows brings the rows of all units into one order and leaves out those
// that change nothing.
func collectRows(each func(func(rows []dwarf.LineRow) bool) error) (files []string, rows []packedRow, err error) {
	files = []string{""}
	numbers := map[string]uint32{"": 0}
	err = each(func(unit []dwarf.LineRow) bool {
		for _, r := range unit {
			n, ok := numbers[r.File]
			if !ok {
				n = uint32(len(files))
				numbers[r.File] = n
				files = append(files, r.File)
			}
			rows = append(rows, packedRow{r.Addr, n, uint32(r.Line)})
		}
		return true
	})
	slices.SortStableFunc(rows, func(a, b packedRow) int {
		// Where one sequence ends another can begin, which then counts.
		return cmp.Or(cmp.Compare(a.addr, b.addr), cmp.Compare(min(a.file, 1), min(b.file, 1)))
	})
	kept := rows[:0]
	for _, r := range rows {
		last := len(kept) - 1
		if last >= 0 && kept[last].addr == r.addr {
			kept[last] = r
		} else if last < 0 || kept[last].file != r.file || kept[last].line != r.line {
			kept = append(kept, r)
		}
	}
	return files, kept, err
}

func encodeBlock(rows []packedRow) []byte {
	var out []byte
	prev := rows[0]
	for _, r := range rows {
		out = binary.AppendUvarint(out, r.addr-prev.addr)
		prev = r
	}
	prev = packedRow{}
	for _, r := range rows {
		out = binary.AppendVarint(out, int64(r.file)-int64(prev.file))
		prev = r
	}
	prev = packedRow{}
	for _, r := range rows {
		out = binary.AppendVarint(out, int64(r.line)-int64(prev.line))
		prev = r
	}
	return out
}

var errPackedLines = errors.New("damaged table of lines")

// What is unpacked is bounded, for a few bytes of zstd can stand for gigabytes: names
// of files by their packed size, which paths of a kernel exceed tenfold, and blocks by
// three numbers a row.
const (
	maxNamesRatio = 64
	maxRowBytes   = 3 * binary.MaxVarintLen64
)

// packedLines is a line table in blocks.
type packedLines struct {
	files  []string
	blocks []lineBlock

	mu   sync.Mutex
	dec  *zstd.Decoder
	rows [][]packedRow // of blocks that are unpacked, by number
}

type lineBlock struct {
	first  uint64 // address
	packed []byte
	n      int // rows
}

// decodeLines reads the tables of what encodeLines wrote.
func decodeLines(data []byte) (*packedLines, error) {
	le := binary.LittleEndian
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	t := &packedLines{dec: dec}
	if len(data) < 4 || uint64(le.Uint32(data)) > uint64(len(data))-4 {
		return nil, errPackedLines
	}
	packed := data[4 : 4+le.Uint32(data)]
	names, err := dec.DecodeAll(packed, make([]byte, 0, maxNamesRatio*len(packed)+1<<16))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPackedLines, err)
	}
	for text := string(names); text != ""; {
		name, rest, ended := strings.Cut(text, "\x00")
		if !ended {
			return nil, errPackedLines
		}
		t.files, text = append(t.files, name), rest
	}
	return t, t.readBlocks(data[4+len(packed):])
}

func (t *packedLines) readBlocks(data []byte) error {
	const record = 16
	le := binary.LittleEndian
	if len(data) < 4 || uint64(le.Uint32(data)) > uint64(len(data)-4)/record {
		return errPackedLines
	}
	n := int(le.Uint32(data))
	table, blocks := data[4:4+record*n], data[4+record*n:]
	for i := range n {
		r := table[record*i:]
		size, rows := uint64(le.Uint32(r[8:])), le.Uint32(r[12:])
		if size > uint64(len(blocks)) || rows == 0 || rows > blockRows {
			return errPackedLines
		}
		t.blocks = append(t.blocks, lineBlock{first: le.Uint64(r), packed: blocks[:size], n: int(rows)})
		blocks = blocks[size:]
	}
	return nil
}

// find returns the line of an address; the error is that its block is damaged.
func (t *packedLines) find(addr uint64) (line Line, ok bool, err error) {
	i, found := slices.BinarySearchFunc(t.blocks, addr, func(b lineBlock, addr uint64) int { return cmp.Compare(b.first, addr) })
	if !found {
		i--
	}
	if i < 0 {
		return Line{}, false, nil
	}
	rows, err := t.rowsOf(i)
	j, found := slices.BinarySearchFunc(rows, addr, func(r packedRow, addr uint64) int { return cmp.Compare(r.addr, addr) })
	if !found {
		j--
	}
	if j < 0 || rows[j].file == 0 || uint64(rows[j].file) >= uint64(len(t.files)) {
		return Line{}, false, err
	}
	return Line{File: t.files[rows[j].file], Line: int(rows[j].line)}, true, nil
}

// rowsOf unpacks a block, once.
func (t *packedLines) rowsOf(i int) ([]packedRow, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = make([][]packedRow, len(t.blocks))
	}
	if b := &t.blocks[i]; t.rows[i] == nil {
		t.rows[i] = []packedRow{}
		if data, err := t.dec.DecodeAll(b.packed, make([]byte, 0, maxRowBytes*b.n)); err == nil {
			t.rows[i] = decodeBlock(data, b.first, b.n)
		}
	}
	if len(t.rows[i]) == 0 {
		return nil, fmt.Errorf("%w: block %d", errPackedLines, i)
	}
	return t.rows[i], nil
}

// decodeBlock unpacks the columns; none for what is damaged.
func decodeBlock(data []byte, first uint64, n int) []packedRow {
	rows := make([]packedRow, n)
	r := varints{data: data}
	addr := first
	for i := range rows {
		addr += r.next()
		rows[i].addr = addr
	}
	file, line := int64(0), int64(0)
	for i := range rows {
		file += r.signed()
		rows[i].file = uint32(file)
	}
	for i := range rows {
		line += r.signed()
		rows[i].line = uint32(line)
	}
	if r.bad {
		return []packedRow{}
	}
	return rows
}
