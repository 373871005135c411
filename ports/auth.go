package ports

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"

	"bankforge/app"
	"bankforge/app/bank"
)

// Authenticator knows tokens. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate says whose token it is. A token that is good for nothing is refused with a *bank.Error
	// (unauthenticated); any other error means that it could not be found out.
	Authenticate(ctx context.Context, token string) (app.Principal, error)
}

// issuer is who signs the tokens.
const issuer = "bankforge"

// claims are what a token says.
type claims struct {
	jwt.RegisteredClaims
	Roles    []app.Role `json:"roles"`
	Customer string     `json:"customer,omitempty"`
}

// Tokens is the Authenticator of signed tokens (JWT, EdDSA). Checking a signature costs as much as
// the rest of a request, so tokens that have been checked are remembered until they expire.
type Tokens struct {
	keys   map[string]ed25519.PublicKey // by id
	now    func() time.Time
	known  *lru.Cache[[sha256.Size]byte, app.Principal] // by the token's hash: no token is kept
	parser *jwt.Parser
}

// rememberedTokens is how many tokens are remembered at most.
const rememberedTokens = 1 << 14

// NewTokens accepts tokens that one of the keys has signed. now may be nil: time.Now.
func NewTokens(now func() time.Time, keys ...ed25519.PublicKey) (*Tokens, error) {
	if len(keys) == 0 {
		return nil, errors.New("tokens need at least one key")
	}
	if now == nil {
		now = time.Now
	}
	known, err := lru.New[[sha256.Size]byte, app.Principal](rememberedTokens)
	if err != nil {
		return nil, fmt.Errorf("remember tokens: %w", err)
	}
	t := &Tokens{keys: map[string]ed25519.PublicKey{}, now: now, known: known}
	for _, k := range keys {
		t.keys[keyID(k)] = k
	}
	t.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return t.now() }), jwt.WithStrictDecoding(),
	)
	return t, nil
}

// Authenticate implements Authenticator.
func (t *Tokens) Authenticate(_ context.Context, token string) (app.Principal, error) {
	if len(token) > maxToken {
		return app.Principal{}, unauthenticated(errors.New("it is too long"))
	}
	hash := sha256.Sum256(append(make([]byte, 0, usualToken), token...))
	if p, ok := t.known.Get(hash); ok {
		if t.now().Before(p.Expires) {
			return p, nil
		}
		t.known.Remove(hash)
	}
	p, err := t.check(token)
	if err != nil {
		return app.Principal{}, unauthenticated(err)
	}
	t.known.Add(hash, p)
	return p, nil
}

const (
	maxToken   = 8 << 10
	usualToken = 512 // bytes, for which the stack has room
	maxSubject = 255
)

func unauthenticated(cause error) error {
	e := bank.Refuse(codeUnauthenticated, "", "The token is not valid, or not any more.")
	e.Cause = cause
	return e
}

func (t *Tokens) check(token string) (app.Principal, error) {
	var c claims
	_, err := t.parser.ParseWithClaims(token, &c, func(token *jwt.Token) (any, error) {
		id, _ := token.Header["kid"].(string)
		if key, ok := t.keys[id]; ok {
			return key, nil
		}
		return nil, errors.New("it was signed with another key")
	})
	if err != nil {
		return app.Principal{}, err
	}
	p := app.Principal{Subject: c.Subject, Roles: c.Roles, Expires: c.ExpiresAt.Time}
	if c.Customer != "" {
		if p.Customer, err = bank.ParseID[bank.Customer](c.Customer); err != nil {
			return p, err
		}
	}
	return p, CheckPrincipal(p)
}

// CheckPrincipal says what is wrong with a principal that a token is to name; nil: nothing.
func CheckPrincipal(p app.Principal) error {
	if p.Subject == "" || len(p.Subject) > maxSubject {
		return fmt.Errorf("a subject has 1 to %d characters", maxSubject)
	}
	if len(p.Roles) == 0 {
		return errors.New("a token needs a role")
	}
	for _, r := range p.Roles {
		switch r {
		case app.RoleCustomer, app.RoleTeller, app.RoleService, app.RoleFraud, app.RoleOperator, app.RoleAuditor,
			app.RoleAdmin:
		default:
			return fmt.Errorf("there is no role %q", r)
		}
	}
	if p.Has(app.RoleCustomer) == p.Customer.IsZero() {
		return errors.New("the role customer belongs together with a customer's id")
	}
	return nil
}

// bearer is the token of the Authorization header, or "".
func bearer(r *http.Request) string {
	const scheme = "bearer "
	h := r.Header.Get("Authorization")
	if len(h) <= len(scheme) || !strings.EqualFold(h[:len(scheme)], scheme) {
		return ""
	}
	return strings.TrimSpace(h[len(scheme):])
}

// Rate is how often one customer may ask.
type Rate struct {
	PerSecond float64 // requests a second on average; 0: no limit
	Burst     int     // requests at once; at least 1 where there is a limit
}

// rememberedBuckets is how many customers are counted at once. Who is forgotten begins with a full bucket.
const rememberedBuckets = 1 << 16

// limiter has a bucket of tokens for each customer. Staff are not limited.
type limiter struct {
	rate    Rate
	mu      sync.Mutex // of what is in the buckets
	buckets *lru.Cache[string, *bucket]
}

type bucket struct {
	tokens float64
	at     time.Time // when there were that many
}

func newLimiter(r Rate) (*limiter, error) {
	if r.PerSecond == 0 {
		return &limiter{}, nil
	}
	if r.PerSecond < 0 || r.Burst < 1 {
		return nil, fmt.Errorf("a rate of %v a second with bursts of %d is none", r.PerSecond, r.Burst)
	}
	buckets, err := lru.New[string, *bucket](rememberedBuckets)
	if err != nil {
		return nil, fmt.Errorf("count requests: %w", err)
	}
	return &limiter{rate: r, buckets: buckets}, nil
}

// take takes a token, or says how long it will be until there is one.
func (l *limiter) take(p *app.Principal, now time.Time) time.Duration {
	if l.buckets == nil || p.Customer.IsZero() {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets.Get(p.Subject)
	if !ok {
		b = &bucket{tokens: float64(l.rate.Burst), at: now}
		l.buckets.Add(p.Subject, b)
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(b.tokens+passed.Seconds()*l.rate.PerSecond, float64(l.rate.Burst))
		b.at = now
	}
	if b.tokens < 1 {
		return max(time.Duration((1-b.tokens)/l.rate.PerSecond*float64(time.Second)), 1)
	}
	b.tokens--
	return 0
}
