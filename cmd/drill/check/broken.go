package check

import (
	"fmt"
	"strings"
)

// BrokenError is what a bank has done that it must not do. Other errors are the drill's own.
type BrokenError struct{ findings []string }

// Error is the first few findings.
func (e *BrokenError) Error() string {
	most := 5
	if len(e.findings) <= most {
		return strings.Join(e.findings, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(e.findings[:most], "; "), len(e.findings)-most)
}

// Broken is a *BrokenError of all findings, or nil when there are none.
func Broken(findings ...[]string) error {
	var all []string
	for _, f := range findings {
		all = append(all, f...)
	}
	if len(all) == 0 {
		return nil
	}
	return &BrokenError{all}
}

// Wrong makes a finding of an error.
func Wrong(err error) error {
	if err == nil {
		return nil
	}
	return &BrokenError{[]string{err.Error()}}
}
