package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"bankforge/app/bank"
)

// Act records what an operator wants done. Its ID is made here, and its Body, which may be any JSON object, is put into
// its canonical form. It is done later, by who is told of it; whether it can be done is found out then. Who may act,
// ports see to.
func (a *App) Act(ctx context.Context, c Call, act bank.Act) (ActDone, error) {
	body, err := canonical(act.Body)
	if err != nil {
		return ActDone{}, &bank.Error{
			Code: bank.InvalidRequest, Field: "body", Detail: "It is not a JSON object.", Item: -1, Cause: err,
		}
	}
	act.ID, act.Body = bank.MakeID[bank.Act](a.newID()), body
	got, err := a.execute(ctx, Ask{Call: c, Name: "act", Command: act})
	if err != nil {
		return ActDone{Done: got.Done}, err
	}
	e := got.last()
	done := ActDone{Done: got.Done, Act: *e.Act, At: e.Time}
	if c.DryRun {
		done.Act.ID, done.At = bank.ActID{}, 0
	}
	return done, nil
}

// canonical is a JSON object without needless blanks, its members in the order of their names, its texts escaped as
// encoding/json does; nothing stays nothing. Messages carry it as it is.
func canonical(object []byte) ([]byte, error) {
	if len(object) == 0 {
		return nil, nil
	}
	if !utf8.Valid(object) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber() // as they are written: no digit is lost
	var members map[string]any
	if err := d.Decode(&members); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || members == nil {
		return nil, errors.New("it is null, or there is more behind it")
	}
	return json.Marshal(members)
}
