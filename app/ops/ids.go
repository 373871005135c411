package ops

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"

	"bankforge/app/bank"
)

// digits write ids as those of the bank are written: they sort as their bytes do.
var digits = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// FailureID names a message in the parking lot of a handler. It begins with the position, so that ids of one key
// ascend.
func FailureID(handler, incarnation string, seq bank.Seq, n int) string {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(seq)<<12|uint64(n))
	sum := hash("failure", handler, incarnation, string(at[:]))
	return "fail_" + digits.EncodeToString(append(at[:], sum[:8]...))
}

// SequenceID names the sequence of a key of a handler.
func SequenceID(handler, key string) string {
	sum := hash("sequence", handler, key)
	return "seq_" + digits.EncodeToString(sum[:16])
}

// hash is of several texts, so that none runs into the next.
func hash(texts ...string) [sha256.Size]byte {
	var b strings.Builder
	var size [8]byte
	for _, text := range texts {
		binary.BigEndian.PutUint64(size[:], uint64(len(text)))
		b.Write(size[:])
		b.WriteString(text)
	}
	return sha256.Sum256([]byte(b.String()))
}
