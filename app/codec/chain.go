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

// Chainer is Chain for who goes over many rows, one after the other.
type Chainer struct{ buf []byte }

// Chain is as the function is.
func (c *Chainer) Chain(prev [32]byte, data string) [32]byte {
	c.buf = append(append(c.buf[:0], prev[:]...), data...)
	return sha256.Sum256(c.buf)
}
