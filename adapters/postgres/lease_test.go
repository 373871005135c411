package postgres

import (
	"fmt"
	"testing"

	"bankforge/app/apptest"
)

func TestLeaseKeepsItsPromises(t *testing.T) {
	t.Parallel()
	err := apptest.TestLease(t.Context(), apptest.LeaseStore{
		For: shortLease,
		Open: func(n int) (logs []apptest.LeasedLog, _ error) {
			db := openOnly(t, ledgerSchema)
			for i := range n {
				logs = append(logs, db.Log(LogConfig{Lease: shortLease, Address: fmt.Sprint("http://", i)}))
			}
			return logs, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}
