package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A run file is blocks, then fences (the first record of each block), then the filter, then a footer.
const (
	magic          = "BankForge index 1\n"
	footerSize     = 4096
	footerSum      = footerSize - 4
	maxIncarnation = 1 << 10 // bytes
)

// footer says what a run holds.
type footer struct {
	count       uint64
	first, last [recordSize]byte
	from        Place
	to          Mark
}

func (f *footer) blocks() uint64  { return blocksFor(f.count) }
func (f *footer) lines() uint64   { return linesFor(f.count) }
func (f *footer) fencesAt() int64 { return int64(f.blocks()) * blockSize }
func (f *footer) filterAt() int64 { return f.fencesAt() + int64(f.blocks())*recordSize }
func (f *footer) footerAt() int64 { return f.filterAt() + int64(f.lines())*lineSize }
func (f *footer) fileSize() int64 { return f.footerAt() + footerSize }
func (f *footer) name() string    { return runName(f.from, f.to.Place) }

func runName(from, to Place) string {
	return fmt.Sprintf("%016x-%016x-%016x-%016x%s", from.Seq, from.Outcome, to.Seq, to.Outcome, runSuffix)
}

// seed has parts of one file not pass for parts of another.
func (f *footer) seed() uint32 { return crc32.Checksum(f.encodePlace(nil), castagnoli) }

func (f *footer) encodePlace(b []byte) []byte {
	for _, n := range [...]uint64{f.count, f.from.Seq, f.from.Outcome, f.to.Seq, f.to.Outcome} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, f.to.Chain[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.to.Incarnation)))
	return append(b, f.to.Incarnation...)
}

func (f *footer) encode() ([]byte, error) {
	if len(f.to.Incarnation) > maxIncarnation {
		return nil, fmt.Errorf("an incarnation of %d bytes", len(f.to.Incarnation))
	}
	b := make([]byte, 0, footerSize)
	b = append(b, magic...)
	b = append(b, f.first[:]...)
	b = append(b, f.last[:]...)
	b = f.encodePlace(b)[:footerSize]
	binary.BigEndian.PutUint32(b[footerSum:], crc32.Checksum(b[:footerSum], castagnoli))
	return b, nil
}

func decodeFooter(b []byte) (f footer, err error) {
	if len(b) != footerSize || !bytes.HasPrefix(b, []byte(magic)) {
		return f, errors.New("it is no index of this program")
	}
	if binary.BigEndian.Uint32(b[footerSum:]) != crc32.Checksum(b[:footerSum], castagnoli) {
		return f, errors.New("the checksum of its footer is wrong")
	}
	b = b[len(magic):]
	b = b[copy(f.first[:], b):]
	b = b[copy(f.last[:], b):]
	for _, to := range [...]*uint64{&f.count, &f.from.Seq, &f.from.Outcome, &f.to.Seq, &f.to.Outcome} {
		*to, b = binary.BigEndian.Uint64(b), b[8:]
	}
	b = b[copy(f.to.Chain[:], b):]
	n := int(binary.BigEndian.Uint16(b))
	if n > maxIncarnation || f.count == 0 || f.count > 1<<40 ||
		f.from.Seq > f.to.Seq || f.from.Outcome > f.to.Outcome || f.from == f.to.Place {
		return f, errors.New("its footer makes no sense")
	}
	f.to.Incarnation = string(b[2 : 2+n])
	return f, nil
}
