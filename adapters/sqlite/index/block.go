package index

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A block holds records in their order and, behind them, the record with which the next block begins. So a block
// can prove by itself that a record is not in its run: it is not in the block, and would have to be.
const (
	blockSize = 4096
	perBlock  = 126
	nextAt    = perBlock * recordSize
	numberAt  = nextAt + recordSize
	countAt   = numberAt + 8
	blockSum  = blockSize - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type block [blockSize]byte

func blocksFor(records uint64) uint64 { return (records + perBlock - 1) / perBlock }

// seal writes what stands behind the records. next is recordSize long; the last block has 0xff there.
func (b *block) seal(seed uint32, number uint64, count int, next []byte) {
	copy(b[nextAt:], next)
	binary.BigEndian.PutUint64(b[numberAt:], number)
	binary.BigEndian.PutUint32(b[countAt:], uint32(count))
	binary.BigEndian.PutUint32(b[blockSum:], crc32.Update(seed, castagnoli, b[:blockSum]))
}

func (b *block) sound(seed uint32, number uint64) bool {
	return binary.BigEndian.Uint32(b[blockSum:]) == crc32.Update(seed, castagnoli, b[:blockSum]) &&
		binary.BigEndian.Uint64(b[numberAt:]) == number && b.count() > 0 && b.count() <= perBlock
}

func (b *block) count() int { return int(binary.BigEndian.Uint32(b[countAt:])) }

func (b *block) bytes(i int) []byte { return b[i*recordSize : (i+1)*recordSize] }

func (b *block) next() []byte { return b[nextAt : nextAt+recordSize] }

// floor is the place of the last record that is not behind key; −1 when all are.
func (b *block) floor(key []byte) int {
	low, high := 0, b.count()
	for low < high {
		if middle := (low + high) / 2; bytes.Compare(b.bytes(middle), key) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low - 1
}
