package sqlite

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"bankforge/app/bank"
)

// SQL needs few of the columns of a row that is written once for each movement of money, and each column costs as much
// as the row itself. So what is only read along is packed into one.

// packing goes over the fields of a row, one after the other, always all in the same order: to write them to data, to
// read them from it, or to tell them.
type packing struct {
	data    []byte
	reading bool
	broken  bool
	told    func(name string, value any) // may be nil
}

var errBroken = errors.New("the packed columns are broken")

func (p *packing) number(name string, n *int64) {
	if !p.reading {
		p.data = protowire.AppendVarint(p.data, protowire.EncodeZigZag(*n))
		return
	}
	v, size := protowire.ConsumeVarint(p.data)
	if size < 0 {
		p.data, p.broken = nil, true
		return
	}
	*n, p.data = protowire.DecodeZigZag(v), p.data[size:]
	if p.told != nil {
		p.told(name, *n)
	}
}

func (p *packing) text(name string, s *string) {
	if !p.reading {
		p.data = protowire.AppendString(p.data, *s)
		return
	}
	v, size := protowire.ConsumeBytes(p.data)
	if size < 0 {
		p.data, p.broken = nil, true
		return
	}
	*s, p.data = string(v), p.data[size:]
	if p.told != nil {
		p.told(name, *s)
	}
}

// packed is what has fields.
type packed interface{ fields(p *packing) }

// pack appends the fields of k to data.
func pack(data []byte, k packed) []byte {
	p := packing{data: data}
	k.fields(&p)
	return p.data
}

// unpack reads the fields of k.
func unpack(data []byte, k packed, told func(name string, value any)) error {
	p := packing{data: data, reading: true, told: told}
	k.fields(&p)
	if p.broken || len(p.data) > 0 {
		return errBroken
	}
	return nil
}

// packedEntry is what stands in the data of an entry.
type packedEntry struct {
	amount, balance, kind, valueDate              int64
	currency, transaction, reference, description string
}

func (k *packedEntry) fields(p *packing) {
	p.number("amount", &k.amount)
	p.number("balance_after", &k.balance)
	p.text("currency", &k.currency)
	p.text("transaction", &k.transaction)
	p.number("kind", &k.kind)
	p.text("reference", &k.reference)
	p.text("description", &k.description)
	p.number("value_date", &k.valueDate)
}

// packedTransaction is what stands in the data of a transaction. payer is the account that is debited and payee the one
// that is credited, internal ones too; while there are no entries the ones that would be, with version 0.
type packedTransaction struct {
	kind, status, amount, reversed        int64
	payer, payee                          packedSide
	currency, reference, description      string
	metadata, reverses, hold, correlation string // metadata: a JSON object, or ""
	key                                   string // the idempotency key
	valueDate, createdAt, postedAt        int64
}

type packedSide struct {
	account, customer string
	balance, version  int64
}

func (k *packedTransaction) fields(p *packing) {
	p.number("kind", &k.kind)
	p.number("status", &k.status)
	p.number("amount", &k.amount)
	p.text("currency", &k.currency)
	p.number("reversed", &k.reversed)
	p.text("payer", &k.payer.account)
	p.text("payer_customer", &k.payer.customer)
	p.number("payer_balance", &k.payer.balance)
	p.number("payer_version", &k.payer.version)
	p.text("payee", &k.payee.account)
	p.text("payee_customer", &k.payee.customer)
	p.number("payee_balance", &k.payee.balance)
	p.number("payee_version", &k.payee.version)
	p.text("reference", &k.reference)
	p.text("description", &k.description)
	p.text("metadata", &k.metadata)
	p.text("reverses", &k.reverses)
	p.text("hold", &k.hold)
	p.text("correlation_id", &k.correlation)
	p.text("idempotency_key", &k.key)
	p.number("value_date", &k.valueDate)
	p.number("created_at", &k.createdAt)
	p.number("posted_at", &k.postedAt)
}

// found is how the transaction is found when it stands at seq.
func (k *packedTransaction) found(seq bank.Seq) *found {
	return &found{
		payer: k.payer.account, payee: k.payee.account,
		payerCustomer: k.payer.customer, payeeCustomer: k.payee.customer,
		key: k.key, correlation: k.correlation, reference: k.reference, hold: k.hold,
		kind: bank.TransactionKind(k.kind), status: bank.TransactionStatus(k.status), seq: seq,
	}
}

// entry is the side as an entry of the amount.
func (s *packedSide) entry(amount int64) (e bank.Entry, err error) {
	e = bank.Entry{Amount: amount, BalanceAfter: s.balance, Version: bank.Version(s.version)}
	if e.Account, err = optionalID(bank.ParseID[bank.Account], s.account); err != nil {
		return e, err
	}
	e.Customer, err = optionalID(bank.ParseID[bank.Customer], s.customer)
	return e, err
}

// differingFields are those in which two rows differ, or, when one is broken, what they are as a whole.
func differingFields(k packed, want, got string) (out []string) {
	type field struct {
		name  string
		value any
	}
	var all [2][]field
	for i, data := range []string{want, got} {
		err := unpack([]byte(data), k, func(name string, value any) { all[i] = append(all[i], field{name, value}) })
		if err != nil {
			return []string{fmt.Sprintf("data is %x instead of %x", got, want)}
		}
	}
	for i, is := range all[1] {
		if is != all[0][i] {
			out = append(out, fmt.Sprintf("%s is %v instead of %v", is.name, is.value, all[0][i].value))
		}
	}
	return out
}
