//go:build !drill

package main

import (
	"context"

	"bankforge/cmd/bankforge/stores"
	"bankforge/router"
)

// takeOrders does nothing: only programs that are built for drills break themselves.
func takeOrders() error { return nil }

// drillCommands are none.
type drillCommands struct{}

// disturbed leaves handlers as they are.
func disturbed(_ context.Context, routes []router.Route, _ stores.Operations) ([]router.Route, error) {
	return routes, nil
}
