package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// ErrDamaged means that the file is no archive, or not as it was written. What it held must not be used.
var ErrDamaged = errors.New("the file is damaged, or is no backup")

// Read reads an archive. It calls begin with the manifest, and then take for each of its parts, in their order; take
// must read all of it. What take got is sound only once Read has returned nil. Errors of begin and take are returned as
// they are, all others are ErrDamaged.
func Read(r io.Reader, begin func(Manifest) error, take func(Part, io.Reader) error) error {
	packed, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return damaged(err)
	}
	defer packed.Close()
	return read(packed, begin, take)
}

func read(r io.Reader, begin func(Manifest) error, take func(Part, io.Reader) error) error {
	t := reader{tar: tar.NewReader(r)}
	text, err := t.small(manifestName)
	if err != nil {
		return damaged(err)
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return damaged(fmt.Errorf("%s: %w", manifestName, err))
	}
	if m.Format != Format {
		return fmt.Errorf("the backup is of format %d, and this program reads format %d", m.Format, Format)
	}
	if err := m.check(); err != nil {
		return damaged(fmt.Errorf("%s: %w", manifestName, err))
	}
	if err := begin(m); err != nil {
		return err
	}
	for _, p := range m.Parts {
		if err := t.part(p, take); err != nil {
			return err
		}
	}
	want := bytes.Clone(t.sums.Bytes())
	sums, err := t.small(sumsName)
	if err != nil {
		return damaged(err)
	}
	if !bytes.Equal(sums, want) {
		return damaged(errors.New("its parts are not those that " + sumsName + " tells of"))
	}
	return t.end(r)
}

func damaged(err error) error { return fmt.Errorf("%w: %w", ErrDamaged, err) }

type reader struct {
	tar  *tar.Reader
	sums bytes.Buffer // of what was read so far, as SHA256SUMS has them
}

// next goes to the file that must come now.
func (t *reader) next(name string) (size int64, err error) {
	h, err := t.tar.Next()
	switch {
	case errors.Is(err, io.EOF):
		return 0, fmt.Errorf("it ends before %s", name)
	case err != nil:
		return 0, fmt.Errorf("before %s: %w", name, err)
	case h.Name != name || h.Typeflag != tar.TypeReg:
		return 0, fmt.Errorf("it has %q where %s belongs", h.Name, name)
	}
	return h.Size, nil
}

// small reads a file that fits into memory.
func (t *reader) small(name string) ([]byte, error) {
	size, err := t.next(name)
	if err != nil {
		return nil, err
	}
	if size > maxSmall {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, size, maxSmall)
	}
	b, err := io.ReadAll(t.tar)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	sum := sha256.Sum256(b)
	t.sums.WriteString(line(sum[:], name))
	return b, nil
}

func (t *reader) part(p Part, take func(Part, io.Reader) error) error {
	size, err := t.next(p.Name)
	if err != nil {
		return damaged(err)
	}
	if size != p.Size {
		return damaged(fmt.Errorf("%s has %d bytes instead of %d", p.Name, size, p.Size))
	}
	sum := sha256.New()
	whole := source{r: io.TeeReader(t.tar, sum)}
	switch err := take(p, &whole); {
	case whole.err != nil:
		return damaged(fmt.Errorf("%s: %w", p.Name, whole.err))
	case err != nil:
		return err
	case whole.n != p.Size:
		return fmt.Errorf("only %d bytes of %s were taken", whole.n, p.Name)
	}
	t.sums.WriteString(line(sum.Sum(nil), p.Name))
	return nil
}

// source remembers how much was read, and whether reading has failed: what take then says is not the cause.
type source struct {
	r   io.Reader
	n   int64
	err error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// end makes sure that nothing follows: tar stops at its own mark, before the compressed stream is known to be whole.
func (t *reader) end(r io.Reader) error {
	switch _, err := t.tar.Next(); {
	case err == nil:
		return damaged(errors.New("it goes on behind " + sumsName))
	case !errors.Is(err, io.EOF):
		return damaged(err)
	}
	switch n, err := io.Copy(io.Discard, io.LimitReader(r, 1)); {
	case err != nil:
		return damaged(err)
	case n != 0:
		return damaged(errors.New("something follows its end"))
	}
	return nil
}
