package body

import (
	"encoding/json"
	"regexp"
	"testing"

	"bankforge/app/bank"
	"bankforge/ports/strictjson"
)

type holder struct {
	Amount Money `json:"amount"`
}

var (
	command = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)
	longer  = regexp.MustCompile(`^[1-9][0-9]{18,}$`)
)

// FuzzMoney holds what is taken for an amount against the contract's pattern.
func FuzzMoney(f *testing.F) {
	for _, s := range []string{
		"1", "0", "-1", "01", "1.0", "1e3", "999999999999999999", "1000000000000000000", "", " 1", "١",
	} {
		f.Add(s, "EUR")
	}
	f.Add("1", "XXX")
	f.Add("1", "eur")
	shape := Of[holder]()
	f.Fuzz(func(t *testing.T, amount, currency string) {
		text, err := json.Marshal(map[string]any{"amount": map[string]string{"amount": amount, "currency": currency}})
		if err != nil {
			return
		}
		v, bad := strictjson.Parse(text)
		if bad != nil {
			t.Fatalf("%s: %v", text, bad)
		}
		var in holder
		var report Report
		shape.Read(&v, &in, &report)
		_, unknown := bank.ParseCurrency(currency)
		switch {
		case len(report.Invalid) > 0:
			if command.MatchString(amount) || longer.MatchString(amount) {
				t.Errorf("%s is malformed: %+v", text, report.Invalid)
			}
		case len(report.Refused) > 0:
			if !longer.MatchString(amount) && unknown == nil {
				t.Errorf("%s is refused: %+v", text, report.Refused)
			}
		case !command.MatchString(amount) || unknown != nil || in.Amount.String() != amount+" "+currency:
			t.Errorf("%s is taken for %s", text, in.Amount)
		}
	})
}
