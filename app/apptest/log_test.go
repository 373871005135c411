package apptest

import "testing"

func TestMemoryLogConforms(t *testing.T) {
	t.Parallel()
	err := TestLog(t.Context(), LogStore{
		Open:  func() (LogUnderTest, error) { return new(MemoryLog), nil },
		Crash: func(l LogUnderTest) (LogUnderTest, error) { return l.(*MemoryLog).Crash(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
}
