package postgres

import (
	"math"
	"reflect"
	"testing"

	"bankforge/app"
	"bankforge/app/bank"
)

// TestVerifyFindsWhatWasChangedInTheTables changes them behind the log's back.
func TestVerifyFindsWhatWasChangedInTheTables(t *testing.T) {
	t.Parallel()
	const hash = `decode(repeat('00', 32), 'hex')`
	for statement, want := range map[string]bank.Seq{
		`UPDATE event SET data = substr(data, 1, length(data) - 1) || '\x00'::bytea WHERE seq = 40`: 40,
		`UPDATE event SET chain = ` + hash + ` WHERE seq = 40`:                                      40,
		`DELETE FROM event WHERE seq = 40`:                                                          41,
		`DELETE FROM event WHERE seq > 40`:                                                          40,
		`UPDATE ledger_head SET seq = 40, chain = (SELECT chain FROM event WHERE seq = 40)`:         41,
		`DELETE FROM outcome WHERE seq = 40`:                                                        40,
		`UPDATE outcome SET events = 0 WHERE seq = 40`:                                              40,
		`UPDATE outcome SET seq = 1000 WHERE seq = 40`:                                              1000,
		`UPDATE outcome SET fingerprint = ` + hash + ` WHERE seq = 40`:                              40,
		`UPDATE outcome SET key = ` + hash + ` WHERE seq = 40`:                                      40,
		`INSERT INTO outcome SELECT -1, sha256(key), fingerprint, 40, 1, '', NULL, '', '', 0 
			FROM outcome WHERE seq = 40`: 40,
		`INSERT INTO outcome SELECT 1000, sha256(key), fingerprint, 1000, 1, '', NULL, '', '', 0
			FROM outcome WHERE seq = 40`: 1000,
		`DELETE FROM touch WHERE seq = 40`:                  40,
		`UPDATE touch SET seq = 41 WHERE seq = 40`:          40,
		`INSERT INTO touch SELECT gen_random_uuid(), 1, 40`: 40,
	} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			l := openOnly(t, ledgerSchema).Log(LogConfig{})
			head, ledger := follow(t, l)
			for range 5 {
				head = appendNext(t, l, head, ledger)
			}
			verified(t, l)
			if _, err := l.db.writers.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
			r, err := app.Verify(t.Context(), l)
			if err != nil || r.OK() || r.Differences[0].Seq != want {
				t.Fatalf("%v, error %v; want event %d first", r.Differences, err, want)
			}
		})
	}
}

func TestOutcomesAreListedInTheirOrder(t *testing.T) {
	t.Parallel()
	l := openOnly(t, ledgerSchema).Log(LogConfig{})
	head, ledger := follow(t, l)
	b := next(head, ledger, 20)
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	first, at, err := l.Decided(t.Context(), math.MinInt64, int(head.Seq))
	if err != nil || bank.Seq(len(first)) != head.Seq {
		t.Fatalf("%d of the first %d, %v", len(first), head.Seq, err)
	}
	if _, err := l.db.writers.Exec(t.Context(), `DELETE FROM outcome WHERE id > $1 AND id <= $1 + 9`, at); err != nil {
		t.Fatal(err)
	}
	var got []app.Outcome
	for {
		page, last, err := l.Decided(t.Context(), at, 4) // in which more than a page is missing
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got, at = append(got, page...), last
	}
	for i := range got {
		got[i].Reply = nil
	}
	if !reflect.DeepEqual(got, b.Outcomes[9:]) {
		t.Fatalf("%+v instead of %+v", got, b.Outcomes[9:])
	}
}

// TestReplayGivesWhatReadDoes, and fails where something is missing.
func TestReplayGivesWhatReadDoes(t *testing.T) {
	t.Parallel()
	l := openOnly(t, ledgerSchema).Log(LogConfig{})
	head, ledger := follow(t, l)
	head = appendNext(t, l, head, ledger)
	want, err := l.Read(t.Context(), 3, int(head.Seq)-5)
	if err != nil {
		t.Fatal(err)
	}
	var got []app.Row
	take := func(chain app.Hash, data string) error {
		got = append(got, app.Row{Seq: 4 + bank.Seq(len(got)), Data: []byte(data), Chain: chain})
		return nil
	}
	if err := l.Replay(t.Context(), 3, head.Seq-2, take); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	if err := l.Replay(t.Context(), 3, head.Seq+1, take); err == nil {
		t.Error("an event is not there, and it does not say so")
	}
}
