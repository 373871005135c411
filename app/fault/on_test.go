//go:build drill

package fault

import (
	"testing"
	"time"
)

func TestOrdersAreUnderstood(t *testing.T) {
	t.Parallel()
	var o orders
	for _, words := range [][]string{{"kill", AfterCommit, "17"}, {"plant", NoUndo}, {"clock", "-1h", "2h"},
		{"fail", "7", "150"}} {
		if err := o.take(words); err != nil {
			t.Fatal(err)
		}
	}
	if o.step != AfterCommit || o.after != 17 || o.planted != NoUndo || len(o.offsets) != 2 ||
		o.offsets[0] != -time.Hour || o.seed != 7 || o.every != 150 {
		t.Errorf("understood %+v", &o)
	}
	for _, words := range [][]string{{"kill", "nowhere", "1"}, {"kill", AfterCommit, "x"}, {"plant", "x"}, {"clock", "x"},
		{"clock"}, {"stop"}, {"fail", "7"}, {"fail", "x", "1"}} {
		if err := o.take(words); err == nil {
			t.Errorf("%v was taken", words)
		}
	}
}
