package servers

import (
	"strings"
	"sync"
	"testing"
)

// Kafka are the addresses of a Kafka server's brokers.
func Kafka(tb testing.TB) []string {
	tb.Helper()
	return strings.Split(url(tb, "BANKFORGE_KAFKA", startKafka), ",")
}

// startKafka is asked at most once in a process.
var startKafka = sync.OnceValues(func() (string, error) { return start("BANKFORGE_KAFKA", "kafka") })
