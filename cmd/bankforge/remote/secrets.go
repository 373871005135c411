package remote

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"bankforge/adapters/postgres"
	"bankforge/cmd/bankforge/keys"
	"bankforge/ports"
)

// secrets are the keys of the bank. All processes have the same ones: they stand in the state store, wrapped with the
// master key, which is all that a process must be given. Who only has the database can neither read personal data nor
// sign tokens.
type secrets struct {
	customers []byte
	tokens    ports.TokenKey
}

// Names in the state store. They are bound to what they name.
const (
	masterPrint  = "master.key" // its fingerprint
	customersKey = "customers.key"
	signingKey   = "signing.key"
)

const masterName = "master.key" // in --data

// secrets reads the keys, and makes those that are missing.
func (b Bank) secrets(ctx context.Context, db *postgres.DB) (s secrets, err error) {
	master, err := b.master(ctx, db)
	if err != nil {
		return s, err
	}
	random := func() ([]byte, error) { return keys.Random(), nil }
	if s.customers, err = unwrapped(ctx, db, master, customersKey, random); err != nil {
		return s, err
	}
	text, err := unwrapped(ctx, db, master, signingKey, ports.MakeTokenKey)
	if err != nil {
		return s, err
	}
	s.tokens, err = ports.ParseTokenKey(text)
	return s, err
}

// master is the key that the others are wrapped with. It is made with the bank, and afterwards refused when it is
// missing or another one.
func (b Bank) master(ctx context.Context, db *postgres.DB) ([]byte, error) {
	path := b.KeyFile
	if path == "" {
		path = filepath.Join(b.Data, masterName)
	}
	known, err := db.State().About(ctx, masterPrint)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil && known != "" {
		return nil, fmt.Errorf("--master-key-file: %w; all processes of a bank have the same one, which was made at its "+
			"first start", err)
	}
	key, err := keys.Secret(path, known == "")
	if err != nil {
		return nil, fmt.Errorf("--master-key-file: %w", err)
	}
	settled, err := db.State().Settle(ctx, masterPrint, keys.Fingerprint(key))
	if err == nil && settled != keys.Fingerprint(key) {
		err = fmt.Errorf("--master-key-file: %s is not the key that the keys of this bank are wrapped with", path)
	}
	return key, err
}

func unwrapped(
	ctx context.Context, db *postgres.DB, master []byte, name string, generate func() ([]byte, error),
) ([]byte, error) {
	wrapped, err := db.State().About(ctx, name)
	if err != nil {
		return nil, err
	}
	if wrapped == "" {
		secret, err := generate()
		if err != nil {
			return nil, err
		}
		if wrapped, err = keys.Wrap(master, name, secret); err != nil {
			return nil, err
		}
		if wrapped, err = db.State().Settle(ctx, name, wrapped); err != nil {
			return nil, err
		}
	}
	return keys.Unwrap(master, name, wrapped)
}
