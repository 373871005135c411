package index

import (
	"cmp"
	"encoding/binary"
	"math"
)

// Hash stands for a subject or a key: 16 bytes of a cryptographic hash, so that nobody can choose two that meet.
type Hash [16]byte

// Record is one entry: what a version of a subject leads to. One and the same hash and version may lead to several.
type Record struct {
	Hash    Hash
	Version uint64
	Value   uint64
}

const recordSize = 32

// Compare orders records as their bytes are ordered.
func (r Record) Compare(other Record) int {
	if a, b := r.Hash.high(), other.Hash.high(); a != b {
		return cmp.Compare(a, b)
	}
	return cmp.Or(cmp.Compare(r.Hash.low(), other.Hash.low()),
		cmp.Compare(r.Version, other.Version), cmp.Compare(r.Value, other.Value))
}

func (h Hash) high() uint64 { return binary.BigEndian.Uint64(h[:8]) }
func (h Hash) low() uint64  { return binary.BigEndian.Uint64(h[8:]) }

// put writes r into the first bytes of b.
func (r Record) put(b []byte) {
	copy(b, r.Hash[:])
	binary.BigEndian.PutUint64(b[16:], r.Version)
	binary.BigEndian.PutUint64(b[24:], r.Value)
}

func recordAt(b []byte) (r Record) {
	copy(r.Hash[:], b)
	r.Version, r.Value = binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])
	return r
}

// behind is behind version v of h.
func behind(h Hash, v uint64) Record { return Record{Hash: h, Version: v, Value: math.MaxUint64} }

// Place is how far into a log something reaches: up to this event, and up to this outcome.
type Place struct{ Seq, Outcome uint64 }

// Mark names the log of which a place is meant.
type Mark struct {
	Place

	Incarnation string
	Chain       [32]byte // of the event at Place
}
