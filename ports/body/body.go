// Package body says what stands in the bodies of requests. Each type of a field both reads itself and gives its
// schema, so that the OpenAPI document cannot say anything else than what is done.
//
// A body is a struct of such types. Its JSON tags name the members; omitzero marks the optional ones.
package body

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/app/bank"
	"bankforge/ports/strictjson"
)

// Invalid is the code of problems that make a body malformed. Every other code refuses one that is well formed.
const Invalid bank.Code = "invalid_request"

// Problem is one thing that is wrong with a body.
type Problem struct {
	Pointer string    // RFC 6901
	Reason  string    // for machines: "required", "unknown_field", "wrong_type", …, or the same as Code
	Code    bank.Code // what it means for the request
	Detail  string
}

// maxInvalid is how many mistakes are told of at once; a hostile body does not make a long answer.
const maxInvalid = 20

// Report collects the problems of one body, in the order of the text.
type Report struct {
	Invalid []Problem // what makes the body malformed
	Refused []Problem // what is well formed, but cannot be
}

// Field is implemented by everything that may stand in a body.
type Field interface {
	huma.SchemaProvider
	// Read takes the value in, or says at the place what is wrong with it.
	Read(v *strictjson.Value, at Place)
}

// Place is where in the body a field stands. Its pointer is only formed when something is wrong.
type Place struct {
	report *Report
	parent *Place
	name   string
	index  int // of an item, when name is ""
}

// Invalid says that what stands here is malformed.
func (p Place) Invalid(reason, detail string) {
	if r := p.report; len(r.Invalid) < maxInvalid {
		r.Invalid = append(r.Invalid, Problem{p.pointer(), reason, Invalid, detail})
	}
}

// Refused says that what stands here is well formed, but cannot be.
func (p Place) Refused(code bank.Code, detail string) {
	p.report.Refused = append(p.report.Refused, Problem{p.pointer(), string(code), code, detail})
}

func (p *Place) pointer() string {
	switch {
	case p.parent == nil:
		return ""
	case p.name == "":
		return p.parent.pointer() + "/" + strconv.Itoa(p.index)
	default:
		return p.parent.pointer() + "/" + strictjson.Escape(p.name)
	}
}

// wants says so unless v is of the kind.
func (p Place) wants(v *strictjson.Value, k strictjson.Kind) bool {
	if v.Kind != k {
		p.Invalid("wrong_type", fmt.Sprintf("%s was expected, not %s", k, v.Kind))
	}
	return v.Kind == k
}

// Shape is how bodies of the struct T are read. Make it once with Of.
type Shape[T any] struct{ fields []member }

type member struct {
	name     string
	index    int
	required bool
}

// Of makes the shape of T. It panics when a field of T cannot be read: a mistake in the program.
func Of[T any]() *Shape[T] {
	t := reflect.TypeFor[T]()
	s := &Shape[T]{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, ok := reflect.TypeAssert[Field](reflect.New(f.Type)); !ok || name == "" {
			panic(fmt.Sprintf("body: %s.%s is not a field with a name", t, f.Name))
		}
		s.fields = append(s.fields, member{name, i, options != "omitzero"})
	}
	return s
}

// Read fills into from v and reports what is wrong.
func (s *Shape[T]) Read(v *strictjson.Value, into *T, report *Report) {
	s.readAt(v, into, Place{report: report})
}

func (s *Shape[T]) readAt(v *strictjson.Value, into *T, at Place) {
	if !at.wants(v, strictjson.Object) {
		return
	}
	dst := reflect.ValueOf(into).Elem()
	var seen uint64
	for i := range v.Members {
		m := &v.Members[i]
		here := Place{report: at.report, parent: &at, name: m.Name}
		n := s.find(m.Name)
		if n < 0 {
			here.Invalid("unknown_field", "no such field is known here")
			continue
		}
		seen |= 1 << n
		field, _ := reflect.TypeAssert[Field](dst.Field(s.fields[n].index).Addr())
		field.Read(&m.Value, here)
	}
	for n := range s.fields {
		if f := &s.fields[n]; f.required && seen&(1<<n) == 0 {
			Place{report: at.report, parent: &at, name: f.name}.Invalid("required", "the field is required")
		}
	}
}

func (s *Shape[T]) find(name string) int {
	for n := range s.fields {
		if s.fields[n].name == name {
			return n
		}
	}
	return -1
}
