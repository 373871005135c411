package apptest

import (
	"reflect"
	"testing"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

func TestLedgerMakesEverythingThatCanHappen(t *testing.T) {
	t.Parallel()
	l, err := NewLedger(2)
	if err != nil {
		t.Fatal(err)
	}
	types, kinds := map[bank.EventType]int{}, map[bank.TransactionKind]int{}
	again := 0 // reversals of what was reversed in part before
	for i, e := range l.Events(4000) {
		if e.Seq != bank.Seq(i+1) {
			t.Fatalf("event %d has seq %d", i, e.Seq)
		}
		types[e.Type]++
		for _, tx := range e.Transactions {
			kinds[tx.Kind]++
			if tx.Version > 2 {
				again++
			}
		}
	}
	for e := bank.AccountOpened; e <= bank.OperatorActed; e++ {
		if types[e] == 0 {
			t.Errorf("no %s", codec.Name(e))
		}
	}
	for k := bank.DepositKind; k <= bank.ReversalKind; k++ {
		if kinds[k] == 0 {
			t.Errorf("no transaction of kind %s", k)
		}
	}
	if again == 0 {
		t.Error("nothing was reversed twice")
	}
	if err := l.State.Audit(); err != nil {
		t.Error(err)
	}
}

func TestLedgerIsTheSameForTheSameSeed(t *testing.T) {
	t.Parallel()
	rows := func(seed uint64) []app.Row {
		l, err := NewLedger(seed)
		if err != nil {
			t.Fatal(err)
		}
		return Rows(app.Head{}, l.Events(300))
	}
	if !reflect.DeepEqual(rows(5), rows(5)) {
		t.Error("the same seed makes two logs")
	}
	if reflect.DeepEqual(rows(5), rows(6)) {
		t.Error("two seeds make the same log")
	}
}
