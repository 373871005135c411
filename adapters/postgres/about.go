package postgres

import (
	"context"
	"fmt"
)

// Settle notes value under name if nothing is noted there yet, and returns what is. Of many who do so at once, all get
// the same.
func (s *Schema) Settle(ctx context.Context, name, value string) (settled string, err error) {
	_, err = s.pool.Exec(ctx, `INSERT INTO about (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, value)
	if err == nil {
		settled, err = s.About(ctx, name)
	}
	if err != nil {
		return "", fmt.Errorf("settle %s: %w", name, err)
	}
	return settled, nil
}
