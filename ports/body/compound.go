package body

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/app/bank"
	"bankforge/ports/strictjson"
)

// Opt is a field that may be absent or null.
type Opt[T any] struct {
	Value T
	Given bool // and not null
	Null  bool
}

// Read implements Field.
func (o *Opt[T]) Read(v *strictjson.Value, at Place) {
	if v.Kind == strictjson.Null {
		o.Null = true
		return
	}
	o.Given = true
	field, _ := any(&o.Value).(Field)
	field.Read(v, at)
}

// Schema implements Field.
func (o *Opt[T]) Schema(r huma.Registry) *huma.Schema {
	field, _ := any(&o.Value).(Field)
	s := field.Schema(r)
	s.Nullable = true
	if s.Enum != nil {
		s.Enum = append(s.Enum, nil)
	}
	return s
}

// Pointer is for commands that change what is given: nil when absent, zero when null.
func (o *Opt[T]) Pointer() *T {
	if !o.Given && !o.Null {
		return nil
	}
	return &o.Value
}

// Metadata is a user's own notes.
type Metadata struct{ bank.Metadata }

const maxMetadata, maxMetadataKey, maxMetadataValue = 50, 40, 500

// Read implements Field.
func (m *Metadata) Read(v *strictjson.Value, at Place) {
	if !at.wants(v, strictjson.Object) {
		return
	}
	if len(v.Members) > maxMetadata {
		at.Invalid("too_many", fmt.Sprintf("metadata has at most %d keys", maxMetadata))
		return
	}
	m.Metadata = make(bank.Metadata, len(v.Members))
	for i := range v.Members {
		entry := &v.Members[i]
		here := Place{report: at.report, parent: &at, name: entry.Name}
		if utf8.RuneCountInString(entry.Name) > maxMetadataKey {
			here.Invalid("too_long", fmt.Sprintf("a key of metadata has at most %d characters", maxMetadataKey))
		}
		if strings.ContainsFunc(entry.Name, isControl) {
			here.Invalid("control_character", "the key has a control character")
		}
		m.Metadata[entry.Name] = text(&entry.Value, here, 0, maxMetadataValue)
	}
}

// Schema implements Field.
func (*Metadata) Schema(huma.Registry) *huma.Schema {
	most := maxMetadata
	return &huma.Schema{
		Type: huma.TypeObject, MaxProperties: &most, Description: "Your own notes.",
		AdditionalProperties: textSchema(0, maxMetadataValue, "", "4711"),
		Extensions: map[string]any{
			"propertyNames": map[string]any{"maxLength": maxMetadataKey, "pattern": printable},
		},
		Examples: []any{map[string]any{"order": "4711"}},
	}
}

// Items are one to a thousand bodies.
type Items[T any] []T

const maxItems = 1000

// Read implements Field.
func (items *Items[T]) Read(v *strictjson.Value, at Place) {
	if !at.wants(v, strictjson.Array) {
		return
	}
	if len(v.Members) == 0 || len(v.Members) > maxItems {
		at.Invalid("length", fmt.Sprintf("1 to %d items were expected, not %d", maxItems, len(v.Members)))
		return
	}
	shape := Of[T]()
	*items = make([]T, len(v.Members))
	for i := range v.Members {
		shape.readAt(&v.Members[i].Value, &(*items)[i], Place{report: at.report, parent: &at, index: i})
	}
}

// Schema implements Field.
func (*Items[T]) Schema(r huma.Registry) *huma.Schema {
	least, most := 1, maxItems
	return &huma.Schema{
		Type: huma.TypeArray, MinItems: &least, MaxItems: &most, Items: r.Schema(reflect.TypeFor[T](), true, ""),
	}
}

// Required is a field that must be there, but may be null.
type Required[T any] struct{ Opt[T] }
