package websocket

import (
	"context"
	"errors"
	"time"

	"github.com/centrifugal/centrifuge"

	"bankforge/app"
	"bankforge/app/bank"
)

// revoked is final: the library's clients do not come back by themselves.
func revoked() centrifuge.Disconnect { return centrifuge.Disconnect{Code: 4501, Reason: "revoked"} }

type principalKey struct{}

// connecting answers the connect command. A token that has ended closes the socket later, with 3005.
func (h *Hub) connecting(ctx context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	p, err := h.conf.Authenticator.Authenticate(ctx, e.Token)
	var refused *bank.Error
	switch {
	case errors.As(err, &refused) && refused.Code != app.CodeUnavailable:
		return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
	case err != nil:
		h.conf.Log.Error("a live client's token could not be checked", "error", err)
		return centrifuge.ConnectReply{}, centrifuge.DisconnectServerError
	}
	c := &centrifuge.Credentials{UserID: p.Subject}
	if !p.Expires.IsZero() {
		c.ExpireAt = p.Expires.Unix()
	}
	return centrifuge.ConnectReply{Context: context.WithValue(ctx, principalKey{}, p), Credentials: c}, nil
}

// connected lets the client subscribe. It may do nothing else: other commands are answered "not available".
func (h *Hub) connected(c *centrifuge.Client) {
	p, _ := c.Context().Value(principalKey{}).(app.Principal)
	c.OnSubscribe(func(e centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
		h.subscribe(c.Context(), p, e.Channel, answer)
	})
}

func (h *Hub) subscribe(ctx context.Context, p app.Principal, channel string, answer centrifuge.SubscribeCallback) {
	may, err := h.conf.Access.MaySubscribe(ctx, p, channel)
	switch {
	case err != nil:
		h.conf.Log.Error("a live client's rights could not be checked", "channel", channel, "error", err)
		answer(centrifuge.SubscribeReply{}, centrifuge.ErrorInternal)
	case !may:
		answer(centrifuge.SubscribeReply{}, centrifuge.ErrorPermissionDenied)
	case hasHistory(channel):
		gate := h.gate(channel)
		gate.RLock()
		defer gate.RUnlock() // answer has read the history, and placed the client behind it
		answer(centrifuge.SubscribeReply{
			Options: centrifuge.SubscribeOptions{EnablePositioning: true, EnableRecovery: true},
		}, nil)
	default:
		h.hinted.Store(time.Now().UnixNano())
		answer(centrifuge.SubscribeReply{}, nil)
	}
}
