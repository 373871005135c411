package index

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// A filter says of most hashes that are not in a run that they are not. It consists of lines, each as large as a
// line of the processor's cache and with a checksum of its own: a damaged one is noticed whenever it is looked at.
// Hashes of one line stand together in the run, so that a filter is written from its beginning to its end.
const (
	lineSize  = 64
	lineSum   = lineSize - 4
	lineBits  = lineSum * 8
	perLine   = 40 // records: 12 bits each, which lets less than one in a hundred pass that are not there
	lineTests = 6
)

func linesFor(records uint64) uint64 { return (records + perLine - 1) / perLine }

// lineOf is the line in which h stands.
func lineOf(h Hash, lines uint64) uint64 {
	line, _ := bits.Mul64(h.high(), lines)
	return line
}

// bitsOf are the places in the line that say that h is there.
func bitsOf(h Hash) (at [lineTests]uint16) {
	for i, rest := 0, h.low(); i < lineTests; i, rest = i+1, rest>>10 {
		at[i] = uint16(rest & 1023 * lineBits >> 10)
	}
	return at
}

type line [lineSize]byte

func (l *line) put(h Hash) {
	for _, at := range bitsOf(h) {
		l[at/8] |= 1 << (at % 8)
	}
}

func (l *line) has(h Hash) bool {
	for _, at := range bitsOf(h) {
		if l[at/8]&(1<<(at%8)) == 0 {
			return false
		}
	}
	return true
}

// seal writes the checksum. It is not the same in another place, or in another file.
func (l *line) seal(seed uint32, number uint64) {
	binary.BigEndian.PutUint32(l[lineSum:], l.sum(seed, number))
}

func (l *line) sound(seed uint32, number uint64) bool {
	return binary.BigEndian.Uint32(l[lineSum:]) == l.sum(seed, number)
}

func (l *line) sum(seed uint32, number uint64) uint32 {
	return crc32.Update(seed^uint32(number), castagnoli, l[:lineSum])
}
