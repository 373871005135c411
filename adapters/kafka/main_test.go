package kafka_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bankforge/adapters/kafka"
	"bankforge/app/apptest/servers"
)

func TestMain(m *testing.M) {
	// Watermill's suite abandons these with a message in hand when it has seen enough, and some subscribers with them.
	const multiplied = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(multiplied+".func2"), goleak.IgnoreAnyFunction(multiplied+".func3"),
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"), // ends by itself
		goleak.IgnoreAnyFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

// services runs scripts/services.sh, and returns what it prints.
func services(args ...string) (string, error) {
	out, err := exec.Command("../../scripts/services.sh", args...).Output()
	if err != nil {
		return "", fmt.Errorf("scripts/services.sh %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// brokerIn is the address of Kafka in what services.sh printed.
func brokerIn(lines string) string {
	for line := range strings.Lines(lines) {
		if address, ok := strings.CutPrefix(strings.TrimSpace(line), "export BANKFORGE_KAFKA="); ok {
			return address
		}
	}
	return ""
}

// broker is a real Kafka that all tests share.
func broker(tb testing.TB) kafka.Config {
	tb.Helper()
	return kafka.Config{Brokers: servers.Kafka(tb)}
}

// ownBroker is a real Kafka that is the test's alone, and what kills it and starts it again.
func ownBroker(t *testing.T) (c kafka.Config, restart func()) {
	t.Helper()
	dir := t.TempDir()
	lines, err := services("--dir", dir, "up", "kafka")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := services("--dir", dir, "down"); err != nil {
			t.Error(err)
		}
	})
	call := func(verb string) error {
		_, err := services("--dir", dir, verb, "kafka")
		return err
	}
	return kafka.Config{Brokers: []string{brokerIn(lines)}}, func() {
		if err := call("kill"); err != nil {
			t.Error(err)
		}
		err := call("start")
		for try := 1; err != nil && try < 50; try++ { // its port may not be free yet
			<-time.After(100 * time.Millisecond)
			err = call("start")
		}
		if err != nil {
			t.Error(err)
		}
	}
}
