package app

import (
	"context"
	"errors"
	"slices"
	"strings"

	"bankforge/app/bank"
)

// hints are the channels that only say that there is something to load again, and who may hear them.
var hints = map[string][]Role{
	"ops":      operating,
	"failures": operating,
	"fraud":    {RoleFraud, RoleAuditor},
}

// operating may watch what fails and what operators do about it.
var operating = []Role{RoleOperator, RoleAdmin, RoleAuditor}

// isReplay reports whether a text may be the id of a replay: that of the act that has planned it, with another prefix.
func isReplay(id string) bool {
	digits, ok := strings.CutPrefix(id, "rpl_")
	if !ok {
		return false
	}
	_, err := bank.ParseID[bank.Act]("act_" + digits)
	return err == nil
}

// MaySubscribe reports whether the principal may watch a live channel: account:{id}, transaction:{id}, customer:{id},
// ops, failures, fraud, replay:{id}. It asks the log, which is never behind, and says no to what does not exist just
// as to what is somebody else's. An error means that it could not be found out.
func (a *App) MaySubscribe(ctx context.Context, p Principal, channel string) (bool, error) {
	kind, id, hasID := strings.Cut(channel, ":")
	if roles, isHint := hints[kind]; isHint {
		return !hasID && p.Has(roles...), nil
	}
	switch kind {
	case "account":
		account, err := bank.ParseID[bank.Account](id)
		if err != nil {
			return false, nil //nolint:nilerr // no such account, then
		}
		return allowed(a.mayReadAccount(ctx, p, account))
	case "transaction":
		if _, err := bank.ParseID[bank.Transaction](id); err != nil {
			return false, nil //nolint:nilerr // no such transaction, then
		}
		e, found, err := a.latest(ctx, id)
		return found && touches(p)(&e), err
	case "customer":
		customer, err := bank.ParseID[bank.Customer](id)
		return err == nil && p.MayRead(customer), nil
	case "replay":
		return isReplay(id) && p.Has(operating...), nil
	default:
		return false, nil
	}
}

// allowed tells a no from not knowing.
func allowed(err error) (bool, error) {
	var refused *bank.Error
	if errors.As(err, &refused) && slices.Contains([]bank.Code{bank.NotFound, CodeForbidden}, refused.Code) {
		return false, nil
	}
	return err == nil, err
}
