package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
)

// maxDifferences is how many are told: one damage often makes many.
const maxDifferences = 100

// Differences are the first ones that were found, and how many more there are.
type Differences struct {
	Found []app.Difference
	More  int
	seq   bank.Seq // where the view stood
}

// Add tells one about what has the id subject; "": about the view. The same one again is not told.
func (d *Differences) Add(subject, what string) {
	found := app.Difference{Seq: d.seq, Subject: subject, What: what}
	if slices.Contains(d.Found, found) {
		return
	}
	if len(d.Found) == maxDifferences {
		d.More++
		return
	}
	d.Found = append(d.Found, found)
}

// Reader is what a Check needs of a Store.
type Reader interface {
	Places
	Reserve(ctx context.Context, handler string, shared bool) (release func(), err error)
}

// Check compares views outside with the log: it builds them anew, up to where they stand, and drops what it has built.
// It may be used beside a running bank; what is parked is left out on both sides.
type Check struct {
	all []Config
	at  Reader
}

var _ app.ViewCheck = (*Check)(nil)

// NewCheck checks these views.
func NewCheck(at Reader, all ...Config) *Check { return &Check{all, at} }

// Compare implements app.ViewCheck. It does not need the state.
func (c *Check) Compare(ctx context.Context, _ *bank.State) (found []app.Difference, err error) {
	for _, conf := range c.all {
		d, err := conf.check(ctx, c.at)
		if err != nil {
			return found, fmt.Errorf("check view %s: %w", conf.Handler, err)
		}
		found = append(found, d.Found...)
	}
	return found, nil
}

func (c Config) check(ctx context.Context, at Reader) (d *Differences, err error) {
	release, err := at.Reserve(ctx, c.Handler, true)
	if err != nil {
		return nil, err
	}
	defer release()
	b, err := begin(ctx, c, at)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.drop(ctx)) }()
	return b.compare(ctx)
}
