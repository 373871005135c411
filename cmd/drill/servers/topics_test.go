package servers

import (
	"testing"

	"bankforge/cmd/drill/check"
)

func TestAMessageAsKcatShowsIt(t *testing.T) {
	t.Parallel()
	const line = `{"topic":"t","partition":3,"offset":7,"tstype":"create","ts":1,"broker":1,` +
		`"headers":["ce_id","i","account_version","42"],"key":"acc_1","payload":"{}"}`
	m, err := message([]byte(line), "account_version")
	if want := (check.Message{Partition: 3, Offset: 7, Key: "acc_1", Version: 42}); err != nil || m != want {
		t.Errorf("it is read as %+v, %v", m, err)
	}
	r, err := record([]byte(line))
	if err != nil || r.Partition != 3 || r.Key != "acc_1" || r.Headers["account_version"] != "42" ||
		string(r.Payload) != "{}" {
		t.Errorf("it is read as %+v, %v", r, err)
	}
	for _, bad := range []string{
		`{"partition":3`, `{"partition":3,"key":"acc_1"}`, `{"headers":["account_version","x"],"key":"acc_1"}`,
	} {
		if m, err := message([]byte(bad), "account_version"); err == nil {
			t.Errorf("%s is read as %+v", bad, m)
		}
	}
}
