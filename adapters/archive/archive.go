// Package archive keeps a whole bank in one file: a backup. It is a tar file, compressed with zstd, so that what is in
// it can also be had without this program: manifest.json, the parts in the order in which it lists them, and SHA256SUMS
// in the form that sha256sum reads.
package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Format is the version of the form that Write writes, and the only one that Read reads.
const Format = 1

const (
	manifestName = "manifest.json"
	sumsName     = "SHA256SUMS"
	mode         = 0o600

	maxParts  = 16
	maxSmall  = 64 << 10 // bytes of the manifest, and of the sums
	maxWindow = 32 << 20 // bytes of memory that a compressed file may ask for
)

// Manifest says what an archive holds. It stands first, so that a reader knows how much is to come.
type Manifest struct {
	Format      int       `json:"format"`
	Incarnation string    `json:"incarnation"`
	Term        uint64    `json:"term"`
	Seq         uint64    `json:"seq"`   // of the last event
	Chain       string    `json:"chain"` // there, in hexadecimal
	Time        time.Time `json:"time"`  // of the moment that the parts show
	Parts       []Part    `json:"parts"`
}

// Part is one file in an archive.
type Part struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// Size is how many bytes the parts have together.
func (m *Manifest) Size() (sum int64) {
	for _, p := range m.Parts {
		sum += p.Size
	}
	return sum
}

func (m *Manifest) check() error {
	if n := len(m.Parts); n == 0 || n > maxParts {
		return fmt.Errorf("it lists %d parts instead of 1 to %d", n, maxParts)
	}
	for i, p := range m.Parts {
		switch {
		case !plain(p.Name) || p.Name == manifestName || p.Name == sumsName:
			return fmt.Errorf("%q is no name of a part", p.Name)
		case p.Size < 0 || p.Size > 1<<50:
			return fmt.Errorf("%s cannot have %d bytes", p.Name, p.Size)
		case slices.ContainsFunc(m.Parts[:i], func(q Part) bool { return q.Name == p.Name }):
			return fmt.Errorf("it lists %s twice", p.Name)
		}
	}
	return nil
}

// plain reports whether a name is that of a file, wherever it is unpacked, and never leads elsewhere.
func plain(name string) bool {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-' {
			return false
		}
	}
	return name != "" && len(name) <= 64 && name[0] != '.'
}

// Write writes an archive. fill is called for each part of m in turn, and must write exactly its size.
func Write(w io.Writer, m Manifest, fill func(name string, w io.Writer) error) error {
	packed, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if err := write(packed, m, fill); err != nil {
		return errors.Join(err, packed.Close())
	}
	return packed.Close()
}

func write(w io.Writer, m Manifest, fill func(name string, w io.Writer) error) error {
	m.Format = Format
	m.Time = m.Time.UTC().Truncate(time.Second) // as tar keeps it
	if err := m.check(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	t := writer{tar: tar.NewWriter(w), time: m.Time}
	if err := t.put(manifestName, int64(len(text)), from(text)); err != nil {
		return err
	}
	for _, p := range m.Parts {
		if err := t.put(p.Name, p.Size, func(w io.Writer) error { return fill(p.Name, w) }); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	sums := t.sums.Bytes()
	if err := t.put(sumsName, int64(len(sums)), from(sums)); err != nil {
		return err
	}
	return t.tar.Close()
}

func from(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

type writer struct {
	tar  *tar.Writer
	time time.Time
	sums bytes.Buffer
}

func (t *writer) put(name string, size int64, fill func(io.Writer) error) error {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: mode, ModTime: t.time}
	if err := t.tar.WriteHeader(&h); err != nil {
		return err
	}
	sum := sha256.New()
	if err := fill(io.MultiWriter(t.tar, sum)); err != nil {
		return err
	}
	t.sums.WriteString(line(sum.Sum(nil), name))
	return t.tar.Flush() // which fails when something is missing
}

// line is one of sha256sum's.
func line(sum []byte, name string) string { return hex.EncodeToString(sum) + "  " + name + "\n" }
