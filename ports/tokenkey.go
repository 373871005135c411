package ports

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"bankforge/app"
)

// TokenKey signs tokens.
type TokenKey struct{ private ed25519.PrivateKey }

const pemType = "PRIVATE KEY"

// LoadTokenKey reads the key file at path, and makes one with a new key when there is none. Only its
// owner may read it; a file that others can read is refused.
func LoadTokenKey(path string) (TokenKey, error) {
	text, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeSecret(path); err == nil {
			text, err = readSecret(path)
		}
	}
	if err != nil {
		return TokenKey{}, fmt.Errorf("signing key: %w", err)
	}
	key, err := ParseTokenKey(text)
	if err != nil {
		return TokenKey{}, fmt.Errorf("signing key: %s: %w", path, err)
	}
	return key, nil
}

// ParseTokenKey reads a key in the form of PEM.
func ParseTokenKey(text []byte) (TokenKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return TokenKey{}, errors.New("it is not PEM with a private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return TokenKey{}, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return TokenKey{}, fmt.Errorf("it is a %T instead of an Ed25519 key", key)
	}
	return TokenKey{private}, nil
}

// MakeTokenKey makes a new key, in the form of PEM.
func MakeTokenKey() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

const othersMay fs.FileMode = 0o077

func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&othersMay != 0 {
		return nil, fmt.Errorf("%s may be read by others than its owner (mode %o): chmod 600 it", path, info.Mode().Perm())
	}
	return os.ReadFile(path)
}

// makeSecret writes a new key beside path and gives it its name only when it is whole. Of two processes
// that do so at once, the first one's key stays.
func makeSecret(path string) error {
	text, err := MakeTokenKey()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // what is left behind is a key that nothing uses
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Public is what tokens are checked with.
func (k TokenKey) Public() ed25519.PublicKey {
	public, _ := k.private.Public().(ed25519.PublicKey)
	return public
}

// Sign makes a token that says for ttl from now on who p is.
func (k TokenKey) Sign(p app.Principal, now time.Time, ttl time.Duration) (string, error) {
	if err := CheckPrincipal(p); err != nil {
		return "", err
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: p.Subject, ID: strings.ToLower(rand.Text()),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
		},
		Roles: p.Roles, Customer: p.Customer.String(),
	})
	token.Header["kid"] = keyID(k.Public())
	return token.SignedString(k.private)
}

// keyID names a key in tokens.
func keyID(public ed25519.PublicKey) string {
	const bytes = 8
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:bytes])
}
