package broker

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Watermill's suite abandons these with a message in hand when it has seen enough.
	const multiplied = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(multiplied+".func2"), goleak.IgnoreAnyFunction(multiplied+".func3"))
}
