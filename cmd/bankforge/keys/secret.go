// Package keys reads and makes the keys of a bank, and wraps those that do not stand in files of their own.
package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const secretBytes = 32

// Secret reads 32 random bytes from the file at path, which only its owner may read. mayMake says to make it when there
// is none.
func Secret(path string, mayMake bool) ([]byte, error) {
	key, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && mayMake:
		if err = makeSecret(path); err == nil {
			key, err = Secret(path, false)
		}
		return key, err
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is missing. Without it nothing personal can be read: put it back, from a backup if "+
			"need be", path)
	case err == nil && len(key) != secretBytes:
		err = fmt.Errorf("%s has %d bytes, not %d", path, len(key), secretBytes)
	}
	return key, err
}

// makeSecret gives the file its name only when it is whole and on the disk. Of two processes that do so at once, the
// first one's stays.
func makeSecret(path string) error {
	key := Random()
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // what is left behind is a key that nothing uses
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Random is a new key.
func Random() []byte {
	key := make([]byte, secretBytes)
	_, _ = rand.Read(key) // never fails, it says
	return key
}

// Fingerprint tells keys apart without giving anything of them away.
func Fingerprint(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("bankforge customers.key"))
	return hex.EncodeToString(mac.Sum(nil))
}

// Wrap seals a secret with the master key, under its name: it can be unwrapped only as what it is.
func Wrap(master []byte, name string, secret []byte) (string, error) {
	seal, err := wrapping(master)
	if err != nil {
		return "", err
	}
	sealed := seal.Seal(nil, nil, secret, []byte(name)) //nolint:gosec // the nonces are random
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// Unwrap is the inverse of Wrap.
func Unwrap(master []byte, name, wrapped string) ([]byte, error) {
	seal, err := wrapping(master)
	if err != nil {
		return nil, err
	}
	sealed, err := base64.StdEncoding.DecodeString(wrapped)
	if err != nil {
		return nil, fmt.Errorf("the %s is damaged: %w", name, err)
	}
	secret, err := seal.Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return nil, fmt.Errorf("the %s was not wrapped with this master key", name)
	}
	return secret, nil
}

func wrapping(master []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, master, nil, "bankforge/wrapped-keys/1", secretBytes)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}
