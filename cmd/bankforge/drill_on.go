//go:build drill

package main

import (
	"os"

	"bankforge/app/fault"
)

// takeOrders hands what a drill wants of this process to those who do it.
func takeOrders() error { return fault.Obey(os.Getenv("BANKFORGE_FAULT")) }
