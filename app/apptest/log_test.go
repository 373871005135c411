package apptest

import (
	"fmt"
	"testing"
)

func TestMemoryLogConforms(t *testing.T) {
	t.Parallel()
	err := TestLog(t.Context(), LogStore{
		Open:  func() (LogUnderTest, error) { return new(MemoryLog), nil },
		Crash: crashMemory,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func crashMemory(l LogUnderTest) (LogUnderTest, error) {
	m, ok := l.(*MemoryLog)
	if !ok {
		return nil, fmt.Errorf("%T is no MemoryLog", l)
	}
	return m.Crash(), nil
}
