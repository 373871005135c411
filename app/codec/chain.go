package codec

import "crypto/sha256"

// Chain is the hash that the log stores beside an event: over that of the event before it, all zero
// before the first, and the event's own stored form.
func Chain(prev [32]byte, data []byte) (sum [32]byte) {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}
