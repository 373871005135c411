package bench

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"
)

// lockedBuffer is what a child says, while somebody waits for a word in it.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// wordPatience is how long a child may take to say what it is waited for.
const wordPatience = 20 * time.Second

// await returns when the word has been said.
func (b *lockedBuffer) await(ctx context.Context, word string) error {
	tick := time.NewTicker(catchUpPace)
	defer tick.Stop()
	for end := time.Now().Add(wordPatience); time.Now().Before(end); {
		if bytes.Contains([]byte(b.text()), []byte(word)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return fmt.Errorf("it did not say %q, but %q", word, b.text())
}
