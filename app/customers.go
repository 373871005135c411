package app

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"bankforge/app/bank"
)

// Customer is what the bank knows of a person. All but ID, version and times is personal: it is stored
// encrypted, and never enters the ledger.
type Customer struct {
	ID        bank.CustomerID
	Version   bank.Version
	CreatedAt bank.Time
	UpdatedAt bank.Time
	CustomerDetails
}

// CustomerDetails are the personal fields; "" is unknown.
type CustomerDetails struct {
	Name       string `json:"name"`
	Email      string `json:"email,omitempty"`
	Phone      string `json:"phone,omitempty"`
	Locale     string `json:"locale,omitempty"`
	ExternalID string `json:"external_id,omitempty"` // unique among customers
}

// CustomerDone answers commands on customers.
type CustomerDone struct {
	Done
	Customer Customer
}

// CustomerFilter selects customers; empty fields select all. E-mail addresses are compared without
// regard to case, phones by their digits. Their time is CreatedAt.
type CustomerFilter struct {
	Page
	ExternalID, Email, Phone string
}

// Blind stands for a value that can be looked up but not read: its HMAC-SHA-256. The zero Blind is no value.
type Blind [32]byte

// SealedCustomer is a customer as the store keeps it: without the master key nothing personal can be read from it.
type SealedCustomer struct {
	ID         bank.CustomerID
	Version    bank.Version
	CreatedAt  bank.Time
	UpdatedAt  bank.Time
	Key        []byte // the customer's own key, wrapped; destroying it destroys what is sealed
	Sealed     []byte
	ExternalID Blind
	Email      Blind
	Phone      Blind
}

// SealedFilter selects sealed customers; zero fields select all.
type SealedFilter struct {
	Page
	ID                       bank.CustomerID
	ExternalID, Email, Phone Blind
}

// Memory is what is remembered of a command on customers: no reply, for that would be personal.
type Memory struct {
	Key         Key
	Fingerprint Hash
	Customer    bank.CustomerID // zero when it was refused
	Code        bank.Code       // of the refusal; "" when accepted
	At          bank.Time
	// CorrelationID is of the command: a replay of its refusal says the same.
	CorrelationID string
}

// CustomerStore keeps customers. It is safe for concurrent use.
type CustomerStore interface {
	// Create puts c in and remembers m, in one transaction, and returns m. Other ends:
	// m.Key is remembered since after: nothing is changed, and that memory is returned, known true.
	// c.ExternalID is taken: c is not put in, and m is remembered and returned as refused with bank.ExternalIDTaken.
	// Memories from before after are forgotten.
	Create(ctx context.Context, c SealedCustomer, m Memory, after bank.Time) (_ Memory, known bool, err error)
	// Customer returns one.
	Customer(ctx context.Context, id bank.CustomerID) (c SealedCustomer, found bool, err error)
	// Customers returns a page of those that the filter selects, ordered by (CreatedAt, ID).
	Customers(ctx context.Context, f SealedFilter) ([]SealedCustomer, error)
}

// customerMemory is how long a key of a command on customers is remembered.
const customerMemory = 24 * time.Hour

// CreateCustomer puts a customer in. Its key is remembered for 24 hours; a replay gives the customer as it is by then.
func (a *App) CreateCustomer(ctx context.Context, c Call, d CustomerDetails) (CustomerDone, error) {
	now := a.now()
	id := bank.MakeID[bank.Customer](a.newID())
	sealed, err := a.seals.seal(Customer{ID: id, Version: 1, CreatedAt: now, UpdatedAt: now, CustomerDetails: d})
	if err != nil {
		return CustomerDone{}, refusal(err)
	}
	m := Memory{Key: c.Key, Fingerprint: c.Fingerprint, Customer: id, At: now, CorrelationID: c.CorrelationID}
	start := time.Now()
	m, known, err := a.parts.Customers.Create(ctx, sealed, m, now-bank.Time(customerMemory.Microseconds()))
	if err != nil {
		return CustomerDone{}, refusal(err)
	}
	done := CustomerDone{Done: Done{
		Published: c.AckPublished, // nothing is told of customers, so there is nothing to wait for
		Timing:    Timing{Commit: time.Since(start)},
	}}
	if known && m.Fingerprint != c.Fingerprint {
		return done, keyReused()
	}
	done.Replayed = known
	if m.Code != "" {
		refused := bank.Refuse(m.Code, "external_id", "Another customer has this external_id.")
		return done, refusedAs(m.CorrelationID, refused)
	}
	made, found, err := a.customer(ctx, m.Customer)
	if err == nil && !found {
		err = bank.Refuse(bank.NotFound, "", "The customer is not there any more.")
	}
	if err != nil {
		return CustomerDone{}, err
	}
	done.Customer = made
	return done, nil
}

// Customer returns one customer; of others than the caller himself only to staff.
func (a *App) Customer(ctx context.Context, p Principal, id bank.CustomerID) (Customer, error) {
	if !p.MayRead(id) {
		return Customer{}, notFound("customer", id.String())
	}
	c, found, err := a.customer(ctx, id)
	if err == nil && !found {
		err = notFound("customer", id.String())
	}
	return c, err
}

// Customers returns a page of customers.
func (a *App) Customers(ctx context.Context, p Principal, f CustomerFilter) ([]Customer, error) {
	mine, err := p.scope()
	if err != nil {
		return nil, err
	}
	hidden := SealedFilter{
		Page: f.Page, ID: mine, ExternalID: a.seals.externalID(f.ExternalID),
		Email: a.seals.email(f.Email), Phone: a.seals.phone(f.Phone),
	}
	if hidden.Email == (Blind{}) != (f.Email == "") || hidden.Phone == (Blind{}) != (f.Phone == "") {
		return nil, nil // nothing is left of what was asked for, as of a phone without digits
	}
	sealed, err := a.parts.Customers.Customers(ctx, hidden)
	if err != nil {
		return nil, refusal(err)
	}
	out := make([]Customer, len(sealed))
	for i := range sealed {
		if out[i], err = a.seals.open(sealed[i]); err != nil {
			return nil, refusal(err)
		}
	}
	return out, nil
}

func (a *App) customer(ctx context.Context, id bank.CustomerID) (Customer, bool, error) {
	sealed, found, err := a.parts.Customers.Customer(ctx, id)
	if err != nil {
		return Customer{}, false, refusal(err)
	}
	if !found {
		return Customer{}, false, nil
	}
	c, err := a.seals.open(sealed)
	if err != nil {
		return Customer{}, false, refusal(err)
	}
	return c, true, nil
}

func notFound(what, id string) *bank.Error {
	return bank.Refuse(bank.NotFound, "", "There is no "+what+" "+id+".")
}

func keyReused() *bank.Error {
	return bank.Refuse(CodeKeyReused, "", "This Idempotency-Key belongs to another request.")
}

// keySize is the size of all keys: AES-256 and HMAC-SHA-256.
const keySize = 32

// sealer protects personal data. Each customer has a random key, which seals the fields (AES-256-GCM), and is itself
// sealed by a key made from the master key; so forgetting that one small record erases the customer.
// Values that are looked up stand beside it as HMACs.
type sealer struct {
	wrap  cipher.AEAD
	blind []byte
}

func newSealer(master []byte) (sealer, error) {
	if len(master) != keySize {
		return sealer{}, fmt.Errorf("the master key has %d bytes instead of %d", len(master), keySize)
	}
	wrapping, err := hkdf.Key(sha256.New, master, nil, "bankforge/customer-keys/1", keySize)
	if err != nil {
		return sealer{}, fmt.Errorf("derive a key: %w", err)
	}
	blind, err := hkdf.Key(sha256.New, master, nil, "bankforge/customer-lookup/1", keySize)
	if err != nil {
		return sealer{}, fmt.Errorf("derive a key: %w", err)
	}
	wrap, err := newGCM(wrapping)
	return sealer{wrap, blind}, err
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal makes the stored form of c, with a new key. The id is bound to it: records cannot be swapped.
func (s sealer) seal(c Customer) (SealedCustomer, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails, it says
	gcm, err := newGCM(key)
	if err != nil {
		return SealedCustomer{}, err
	}
	plain, err := json.Marshal(c.CustomerDetails)
	if err != nil {
		return SealedCustomer{}, fmt.Errorf("seal customer %s: %w", c.ID, err)
	}
	id := []byte(c.ID.String())
	return SealedCustomer{
		ID: c.ID, Version: c.Version, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
		Key: s.wrap.Seal(nil, nil, key, id), Sealed: gcm.Seal(nil, nil, plain, id), //nolint:gosec // random nonces
		ExternalID: s.externalID(c.ExternalID), Email: s.email(c.Email), Phone: s.phone(c.Phone),
	}, nil
}

// open is the inverse of seal.
func (s sealer) open(c SealedCustomer) (Customer, error) {
	id := []byte(c.ID.String())
	key, err := s.wrap.Open(nil, nil, c.Key, id)
	if err != nil {
		return Customer{}, fmt.Errorf("the key of customer %s does not open with this master key: %w", c.ID, err)
	}
	gcm, err := newGCM(key)
	if err != nil {
		return Customer{}, err
	}
	out := Customer{ID: c.ID, Version: c.Version, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt}
	plain, err := gcm.Open(nil, nil, c.Sealed, id)
	if err == nil {
		err = json.Unmarshal(plain, &out.CustomerDetails)
	}
	if err != nil {
		return Customer{}, fmt.Errorf("customer %s is damaged: %w", c.ID, err)
	}
	return out, nil
}

func (s sealer) externalID(v string) Blind { return s.hide("external_id", v) }

func (s sealer) email(v string) Blind { return s.hide("email", strings.ToLower(strings.TrimSpace(v))) }

func (s sealer) phone(v string) Blind {
	return s.hide("phone", strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, v))
}

// hide is the same for the same value of the same field; nobody without the key can try values out.
func (s sealer) hide(field, value string) (b Blind) {
	if value == "" {
		return b
	}
	mac := hmac.New(sha256.New, s.blind)
	mac.Write([]byte(field + "\x00" + value))
	mac.Sum(b[:0])
	return b
}
