// Package snapshots keeps snapshots of the decider's state as files: a cache, which any doubt throws away.
package snapshots

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/fault"
)

// Directory keeps snapshots as files: snapshot-SEQ.bin. It implements app.Snapshots.
type Directory struct {
	dir string
	log *slog.Logger
}

var _ app.Snapshots = (*Directory)(nil)

// New keeps them in dir, which must exist. Damaged ones are told to log, and passed over.
func New(dir string, log *slog.Logger) *Directory { return &Directory{dir, log} }

const (
	snapshotPrefix  = "snapshot-"
	snapshotSuffix  = ".bin"
	unfinished      = ".tmp"
	snapshotMagic   = "BankForge snapshot 1\n"
	maxIncarnation  = 1 << 10 // bytes
	snapshotBufSize = 1 << 16
)

// Save writes a new file under another name, and renames it when all of it is on the disk.
func (s *Directory) Save(ctx context.Context, m app.SnapshotMark, write func(io.Writer) error) error {
	name := fmt.Sprintf("%s%020d%s", snapshotPrefix, m.Seq, snapshotSuffix)
	path := filepath.Join(s.dir, name)
	err := writeSnapshot(ctx, path+unfinished, m, write)
	fault.Here(fault.InSnapshot)
	if err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("save snapshot %s: %w", name, errors.Join(err, s.remove(name+unfinished)))
	}
	names, err := s.names()
	if err != nil {
		return fmt.Errorf("remove older snapshots: %w", err)
	}
	for _, other := range names {
		if other != name {
			err = errors.Join(err, s.remove(other))
		}
	}
	if err != nil {
		return fmt.Errorf("remove older snapshots: %w", err)
	}
	return nil
}

// writeSnapshot writes the mark, the content, and the SHA-256 of both, and has the disk keep them.
func writeSnapshot(ctx context.Context, path string, m app.SnapshotMark, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	buf := bufio.NewWriterSize(f, snapshotBufSize)
	both := io.MultiWriter(buf, sum)
	w := writerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return both.Write(p)
	})
	if _, err := w.Write(appendMark(nil, m)); err != nil {
		return err
	}
	if err := write(w); err != nil {
		return err
	}
	if _, err := buf.Write(sum.Sum(nil)); err != nil {
		return err
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Load tries the newest first.
func (s *Directory) Load(ctx context.Context, read func(app.SnapshotMark, io.Reader) error) (found bool, err error) {
	names, err := s.names()
	if err != nil {
		return false, fmt.Errorf("look for snapshots: %w", err)
	}
	for _, name := range slices.Backward(names) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if strings.HasSuffix(name, unfinished) {
			continue
		}
		found, err := s.load(name, read)
		if found {
			return true, err
		}
		s.log.WarnContext(ctx, "a damaged snapshot is passed over", "file", name, "reason", err)
	}
	return false, nil
}

// load checks the whole file before read sees any of it. An error of an undamaged one is that of read.
func (s *Directory) load(name string, read func(app.SnapshotMark, io.Reader) error) (undamaged bool, err error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	size := info.Size() - sha256.Size
	if size < 0 {
		return false, errors.New("it is too short")
	}
	if err := checkSum(io.NewSectionReader(f, 0, size), io.NewSectionReader(f, size, sha256.Size)); err != nil {
		return false, err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), snapshotBufSize)
	m, err := readMark(r)
	if err != nil {
		return false, err
	}
	if err := read(m, r); err != nil {
		return true, fmt.Errorf("snapshot %s: %w", name, err)
	}
	return true, nil
}

func checkSum(content, stored io.Reader) error {
	h := sha256.New()
	if _, err := io.Copy(h, content); err != nil {
		return err
	}
	want, err := io.ReadAll(stored)
	if err != nil {
		return err
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return errors.New("the checksum is not that of the content")
	}
	return nil
}

// appendMark writes what is in front of the content.
func appendMark(b []byte, m app.SnapshotMark) []byte {
	b = append(b, snapshotMagic...)
	b = binary.AppendVarint(b, int64(m.Schema))
	b = binary.AppendUvarint(b, uint64(len(m.Incarnation)))
	b = append(b, m.Incarnation...)
	b = binary.AppendUvarint(b, uint64(m.Seq))
	return append(b, m.Chain[:]...)
}

func readMark(r *bufio.Reader) (m app.SnapshotMark, err error) {
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != snapshotMagic {
		return m, errors.New("it is no snapshot of this program")
	}
	schema, err1 := binary.ReadVarint(r)
	n, err2 := binary.ReadUvarint(r)
	if err := errors.Join(err1, err2); err != nil {
		return m, err
	}
	if n > maxIncarnation {
		return m, fmt.Errorf("an incarnation of %d bytes", n)
	}
	incarnation := make([]byte, n)
	_, err1 = io.ReadFull(r, incarnation)
	seq, err2 := binary.ReadUvarint(r)
	_, err3 := io.ReadFull(r, m.Chain[:])
	m.Schema, m.Incarnation, m.Seq = int(schema), string(incarnation), bank.Seq(seq)
	return m, errors.Join(err1, err2, err3)
}

// names are all files of snapshots, the oldest first, unfinished ones too.
func (s *Directory) names() (names []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries { // sorted by name
		name := e.Name()
		whole := strings.TrimSuffix(name, unfinished)
		if strings.HasPrefix(whole, snapshotPrefix) && strings.HasSuffix(whole, snapshotSuffix) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (s *Directory) remove(name string) error {
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir has the disk keep the names in dir.
func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
