package postgres

import (
	"testing"

	"bankforge/app/apptest"
)

func TestTheRelayStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	if err := apptest.RelayStore(t.Context(), NewRelayStore(openDB(t))); err != nil {
		t.Error(err)
	}
}
