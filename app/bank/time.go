package bank

import "time"

// Time is an instant in microseconds since 1970-01-01 UTC.
type Time int64

// TimeOf converts; what is below a microsecond is cut off.
func TimeOf(t time.Time) Time { return Time(t.UnixMicro()) }

// Std is the same instant in UTC.
func (t Time) Std() time.Time { return time.UnixMicro(int64(t)).UTC() }

const microsPerDay = 24 * 60 * 60 * 1_000_000

// Date is the UTC day of t.
func (t Time) Date() Date {
	d := int64(t) / microsPerDay
	if int64(t) < 0 && int64(t)%microsPerDay != 0 {
		d--
	}
	return Date(d)
}

// Date is a day in the calendar, counted from 1970-01-01.
type Date int32

// ParseDate reads YYYY-MM-DD.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, err
	}
	return TimeOf(t).Date(), nil
}

// String is YYYY-MM-DD.
func (d Date) String() string { return Time(int64(d) * microsPerDay).Std().Format(time.DateOnly) }
