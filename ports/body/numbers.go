package body

import (
	"fmt"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/ports/strictjson"
)

// Range is what a Whole may be.
type Range interface {
	// Range is the least, the most, and what the number is.
	Range() (low, high int64, what string)
}

// Whole is a whole number within a range.
type Whole[R Range] int64

// Read implements Field.
func (n *Whole[R]) Read(v *strictjson.Value, at Place) {
	if !at.wants(v, strictjson.Number) {
		return
	}
	var r R
	low, high, _ := r.Range()
	i, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil || i < low || i > high {
		at.Invalid("range", fmt.Sprintf("a whole number from %d to %d was expected", low, high))
		return
	}
	*n = Whole[R](i)
}

// Schema implements Field.
func (*Whole[R]) Schema(huma.Registry) *huma.Schema {
	var r R
	low, high, what := r.Range()
	least, most := float64(low), float64(high)
	return &huma.Schema{
		Type: huma.TypeInteger, Format: "int64", Minimum: &least, Maximum: &most, Description: what,
	}
}

// Object is a body within a body.
type Object[T any] struct{ Value T }

// Read implements Field.
func (o *Object[T]) Read(v *strictjson.Value, at Place) { Of[T]().readAt(v, &o.Value, at) }

// Schema implements Field. It stands where it is used, so that it can be nullable there.
func (*Object[T]) Schema(r huma.Registry) *huma.Schema {
	s := *huma.SchemaFromType(r, reflect.TypeFor[T]())
	return &s
}

// Few are up to a number of fields, which the range of the type says.
type Few[T any, R Range] []T

// Read implements Field.
func (few *Few[T, R]) Read(v *strictjson.Value, at Place) {
	if !at.wants(v, strictjson.Array) {
		return
	}
	var r R
	low, high, _ := r.Range()
	if n := int64(len(v.Members)); n < low || n > high {
		at.Invalid("length", fmt.Sprintf("%d to %d items were expected, not %d", low, high, n))
		return
	}
	*few = make([]T, len(v.Members))
	for i := range v.Members {
		field, _ := any(&(*few)[i]).(Field)
		field.Read(&v.Members[i].Value, Place{report: at.report, parent: &at, index: i})
	}
}

// Schema implements Field.
func (*Few[T, R]) Schema(registry huma.Registry) *huma.Schema {
	var r R
	low, high, what := r.Range()
	least, most := int(low), int(high)
	var one T
	field, _ := any(&one).(Field)
	return &huma.Schema{
		Type: huma.TypeArray, MinItems: &least, MaxItems: &most, Items: field.Schema(registry), Description: what,
	}
}
