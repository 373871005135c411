package embedded

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const secretBytes = 32

// secret reads 32 random bytes from the file at path, which only its owner may read. mayMake says to make it when there
// is none.
func secret(path string, mayMake bool) ([]byte, error) {
	missing, err := absent(path)
	if err != nil {
		return nil, err
	}
	if missing && mayMake {
		return makeSecret(path)
	}
	if missing {
		return nil, fmt.Errorf("%s is missing. Without it nothing personal can be read: put it back, from a backup if "+
			"need be", path)
	}
	key, err := os.ReadFile(path)
	if err == nil && len(key) != secretBytes {
		err = fmt.Errorf("%s has %d bytes, not %d", path, len(key), secretBytes)
	}
	return key, err
}

// makeSecret gives the file its name only when it is whole and on the disk.
func makeSecret(path string) ([]byte, error) {
	key := make([]byte, secretBytes)
	_, _ = rand.Read(key)                                                 // never fails, it says
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return nil, err
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return key, errors.Join(dir.Sync(), dir.Close())
}

// fingerprint tells keys apart without giving anything of them away.
func fingerprint(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("bankforge customers.key"))
	return hex.EncodeToString(mac.Sum(nil))
}
