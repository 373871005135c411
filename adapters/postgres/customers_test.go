package postgres

import (
	"testing"

	"bankforge/app"
	"bankforge/app/apptest"
)

func TestCustomersKeepTheirPromises(t *testing.T) {
	t.Parallel()
	err := apptest.TestCustomers(t.Context(), func() (app.CustomerStore, error) {
		return openOnly(t, stateSchema).Customers(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
